"""Which letter turns which knob and works which fault: assigned, so that a new pattern need not think about clashes."""

from collections.abc import Iterable, Mapping, Sequence
from string import ascii_lowercase


def assign_letters(
    names: Sequence[str], taken: Iterable[str], wishes: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A key for each of `names`, none of them in `taken` and none twice; "" for a name when the alphabet is used up.

    A name gets the key it wishes for if that is free, else the first free letter of its own, else the first free one of all.
    """
    used = set(taken)
    wishes = wishes or {}
    keys: dict[str, str] = {}
    for name, wish in wishes.items():
        if name in names and wish and wish not in used:
            keys[name] = wish
            used.add(wish)
    for name in names:
        if name in keys:
            continue
        own = (letter for letter in name.lower() if letter in ascii_lowercase)
        keys[name] = next((letter for letter in (*own, *ascii_lowercase) if letter not in used), "")
        used.add(keys[name])
    return {name: keys[name] for name in names}
