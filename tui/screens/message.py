"""The dialogs about the selected row: why it came about, and what can be done to its message."""

import re
from collections.abc import Sequence

from tui.panels.palette import Entry
from tui.panels.story import Link
from tui.screens.picker import PickerScreen
from tui.this_message import Chosen, Deed

WHY = Deed("why?", "what it followed from, back to the beginning")
MOST_LINKS = 40

_SO_MANY = re.compile(r"\s*(?:(drop|lose|hold|duplicate)\s+)?(?:next\s+)?([1-9]\d{0,3})\s*")


def message_picker(chosen: Chosen | None, title: str, *, narrow: bool) -> PickerScreen[Deed]:
    """What can be done to a message (None: the row has none); a number makes it the next so many like it."""

    def typed(text: str) -> Entry[Deed] | None:
        found = _SO_MANY.fullmatch(text)
        if chosen is None or found is None:
            return None
        order = chosen.next_ones(found[1] or "drop", int(found[2]))
        return Entry(order, "give this order", Deed(order, "", order))

    deeds = [WHY, *(chosen.deeds if chosen is not None else ())]
    entries = [Entry(deed.title, deed.refusal or deed.about, deed) for deed in deeds]
    hint = "up and down; a number does it to so many: 3, hold 5"
    return PickerScreen(title, entries, hint=hint if chosen is not None else "enter tells why", free=typed, tall=narrow)


def why_picker(links: Sequence[Link]) -> PickerScreen[int]:
    """The chain of causes, the effect first; returns the fact to go to."""
    entries = [
        Entry(f"{link.time_s:.3f} s" + ("" if number else "  this row"), _because(number, link.text), link.fact_id)
        for number, link in enumerate(links)
    ]
    return PickerScreen("why", entries, hint="each follows from the one below it; enter goes to that moment", tall=True)


def _because(number: int, text: str) -> str:
    return text if number == 0 else f"because: {text}"
