"""Which letter turns which knob and works which fault: assigned, so that a new pattern need not think about clashes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase


def assign_letters(
    names: Sequence[str], taken: Iterable[str], wishes: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A key for each of `names`, none of them in `taken` and none twice; "" for a name when the alphabet is used up.

    A name gets the key it wishes for if that is free; then come the initials of its words, then its other letters, then any.
    Initials are given out before anything else, so that a name early in the list does not take another's initial.
    """
    used = set(taken)
    keys: dict[str, str] = {}

    def give(name: str, letters: Iterable[str]) -> None:
        key = next((letter for letter in letters if letter not in used), "")
        if key:
            keys[name] = key
            used.add(key)

    for name, wish in (wishes or {}).items():
        if name in names and wish:
            give(name, [wish])
    for choices in (_first, _initials, _letters):
        for name in names:
            if name not in keys:
                give(name, choices(name))
    return {name: keys.get(name, "") for name in names}


def _first(name: str) -> list[str]:
    return _letters(name)[:1]


def _initials(name: str) -> list[str]:
    return [word[0] for word in re.split(r"[^a-z]+", name.lower()) if word]


def _letters(name: str) -> list[str]:
    own = [letter for letter in name.lower() if letter in ascii_lowercase]
    return [*own, *ascii_lowercase]
