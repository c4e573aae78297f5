"""What random fault schedules found in the rules of fate."""

from engines.lab.dissection import Started
from engines.lab.facts import PacketKind, Role
from engines.lab.fate import Action, Carried, NextMessages, Subject, Verdict


def test_the_next_packet_may_carry_a_message() -> None:
    rule = NextMessages("drop", 1, "packet", "")
    message = Started(Role.REQUEST, "GET /", 0, 20, 0)
    packet = Subject(1, "client", "server", PacketKind.DATA, 0, 20, [Carried(message, True)])
    assert rule.judge(packet) == Verdict(Action.DROP, "fault")
    assert rule.spent
