"""Topic filters of MQTT 5: the examples of the standard, and a second way to match."""

import re

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.wire.mqtt_topics import is_filter, is_topic, matches, split_share

MATCHES = [
    # section 4.7.1.2
    ("sport/tennis/player1/#", "sport/tennis/player1", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
    ("sport/#", "sport", True),
    ("#", "anything/at/all", True),
    ("#", "/", True),
    # section 4.7.1.3
    ("sport/tennis/+", "sport/tennis/player1", True),
    ("sport/tennis/+", "sport/tennis/player1/ranking", False),
    ("sport/+", "sport", False),
    ("sport/+", "sport/", True),
    ("+/+", "/finance", True),
    ("/+", "/finance", True),
    ("+", "/finance", False),
    ("+/tennis/#", "sport/tennis", True),
    ("sport/+/player1", "sport/tennis/player1", True),
    # section 4.7.2
    ("#", "$SYS/broker", False),
    ("+/monitor/Clients", "$SYS/monitor/Clients", False),
    ("$SYS/#", "$SYS/broker", True),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
    # section 4.7.3: case counts, and so does an empty level
    ("ACCOUNTS", "Accounts", False),
    ("a/b", "a/b/", False),
    ("a//b", "a/b", False),
    ("a/+/b", "a//b", True),
]


@pytest.mark.parametrize(("text", "topic", "fits"), MATCHES)
def test_the_examples_of_the_standard(text: str, topic: str, fits: bool) -> None:
    assert is_filter(text)
    assert is_topic(topic)
    assert matches(text, topic) is fits


LEVELS = st.lists(st.sampled_from(["", "a", "b", "$x"]), min_size=1, max_size=4).map("/".join)
FILTERS = st.lists(st.sampled_from(["", "a", "b", "$x", "+", "+", "#"]), min_size=1, max_size=4).map("/".join)


def by_regular_expression(text: str, topic: str) -> bool:
    """The same rules as one expression."""
    if topic.startswith("$") and not text.startswith("$"):
        return False
    if text == "#":
        return True
    pattern = re.escape(text).replace(r"\+", "[^/]*")
    pattern = re.sub(r"(^|/)\\\#$", "(/.*)?", pattern)
    return re.fullmatch(pattern, topic, re.DOTALL) is not None


@given(FILTERS.filter(lambda text: bool(text) and is_filter(text)), LEVELS.filter(bool))
def test_two_ways_to_match_agree(text: str, topic: str) -> None:
    assert matches(text, topic) == by_regular_expression(text, topic)


@given(st.text("ab+#/$", max_size=8))
def test_a_topic_fits_itself_and_what_is_well_formed_the_codec_says_too(text: str) -> None:
    if is_topic(text):
        assert matches(text, text)
    if text and not text.startswith("$share"):
        try:
            mqtt5.TopicFilter(text)
            mqtt5.SubscribePacket(1, [mqtt5.TopicFilter(text)]).write()
        except ValueError:
            assert not is_filter(text)
        else:
            assert is_filter(text)


@pytest.mark.parametrize("text", ["", "sport/tennis#", "sport/tennis/#/ranking", "sport+", "+a", "$share/g", "$share//a",
                                  "$share/g/", "$share/g+/a", "$share/g/a#", "$share"])  # fmt: skip
def test_what_is_no_filter(text: str) -> None:
    assert not is_filter(text)


def test_a_share_has_a_group_and_a_filter() -> None:
    assert is_filter("$share/workers/jobs/#")
    assert split_share("$share/workers/jobs/#") == ("workers", "jobs/#")
    assert split_share("jobs/#") == ("", "jobs/#")
    assert not is_topic("a/+")
    assert not is_topic("")
