"""Topic names and topic filters of MQTT 5 (section 4.7): which subscription hears of which topic. Pure."""

SHARED = "$share"


def is_topic(name: str) -> bool:
    """Whether one can publish to `name`: not empty, and without wildcards (4.7.1, 4.7.3)."""
    return bool(name) and not set(name) & set("+#\0")


def is_filter(text: str) -> bool:
    """Whether one can subscribe to `text`: a wildcard is a whole level, and `#` the last (4.7.1.2, 4.7.1.3).

    A shared subscription (4.8.2) names a group without wildcards, and then a filter.
    """
    if text.split("/", 1)[0] == SHARED:
        group, inner = split_share(text)
        return is_topic(group) and bool(inner) and _well_formed(inner)
    return bool(text) and _well_formed(text)


def _well_formed(text: str) -> bool:
    levels = text.split("/")
    single = all(level in ("+", "#") or not set(level) & set("+#\0") for level in levels)
    return single and "#" not in levels[:-1]


def split_share(text: str) -> tuple[str, str]:
    """The group and the filter of `$share/group/filter`; no group ("") and the whole text for any other filter."""
    first, _, rest = text.partition("/")
    if first != SHARED:
        return "", text
    group, _, inner = rest.partition("/")
    return group, inner


def matches(text: str, topic: str) -> bool:
    """Whether `topic` fits the filter `text`, which is not a shared one.

    `+` stands for one level, `#` for the level it follows and all below it; neither, in the first place, for a topic that
    begins with $ (4.7.2).
    """
    wanted, found = text.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(found) or level not in ("+", found[i]):
            return False
    return len(wanted) == len(found)
