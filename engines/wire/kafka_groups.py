"""Consumer groups as their coordinator sees them: who is a member, in which generation, and who has which partitions.

This is Kafka's classic protocol (KIP-62 and KIP-134; `group.protocol=classic`, the default of Kafka 4's consumers). Whenever
the members change, all of them join again: the coordinator answers none before all have asked, or until the rebalance
timeout is over, whichever comes first. Then one of them, the leader, divides the partitions, and the coordinator passes on
what it says. Nobody works on anything that it may have to give up in the meantime.

A member's session ends when no heartbeat comes for its timeout. That its connection was closed says nothing.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum

import trio

from engines.wire.kafka_group_messages import (
    GroupProtocol,
    HeartbeatRequest,
    JoinedMember,
    JoinGroupRequest,
    JoinGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from engines.wire.kafka_protocol import Code

INITIAL_DELAY_S = 3.0
"""How long the first member of a new group waits for others: Kafka's group.initial.rebalance.delay.ms."""


class State(Enum):
    """Of a group."""

    EMPTY = "empty"
    JOINING = "all must join"  # Kafka: PreparingRebalance
    DIVIDING = "waiting for the leader"  # Kafka: CompletingRebalance
    STABLE = "stable"


class _Answer:
    """A response that is not known yet."""

    def __init__(self) -> None:
        self._known = trio.Event()
        self._value: JoinGroupResponse | SyncGroupResponse | None = None

    def give(self, value: JoinGroupResponse | SyncGroupResponse) -> None:
        self._value = value
        self._known.set()

    async def wait(self) -> JoinGroupResponse | SyncGroupResponse:
        await self._known.wait()
        assert self._value is not None
        return self._value


@dataclass(slots=True, eq=False)
class Member:
    """One member. `expires_s` is when its session ends if nothing more is heard of it."""

    name: str
    session_timeout_s: float
    rebalance_timeout_s: float
    protocols: tuple[GroupProtocol, ...]
    expires_s: float
    assignment: bytes = b""
    joining: _Answer | None = None
    syncing: _Answer | None = None

    @property
    def waits_for_us(self) -> bool:
        """Whoever waits for an answer cannot send heartbeats: its session goes on meanwhile."""
        return self.joining is not None or self.syncing is not None

    def subscription(self, protocol: str) -> bytes:
        return next((each.subscription for each in self.protocols if each.name == protocol), b"")


@dataclass(slots=True, eq=False)
class Group:
    """One group. `on_change` is told of everything worth knowing, in words; `changed` wakes who watches the deadlines."""

    name: str
    initial_delay_s: Callable[[], float]
    on_change: Callable[[str], None]
    changed: Callable[[], None]
    state: State = State.EMPTY
    generation: int = 0
    protocol: str = ""
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    on_stable: Callable[["Group"], None] = lambda group: None
    _join_until_s: float = math.inf
    _is_first: bool = False
    _named: Counter[str] = field(default_factory=Counter)

    # --- what members ask -----------------------------------------------------------------------------------------------

    async def join(self, client: str, request: JoinGroupRequest) -> JoinGroupResponse:
        """Be a member of the next generation; the answer comes when it begins."""
        member = self.members.get(request.member)
        if member is None and request.member:
            return _refused(Code.UNKNOWN_MEMBER_ID, request.member)
        if self.members and not self._common(
            [*(each.protocols for each in self.members.values() if each is not member), request.protocols]
        ):
            return _refused(Code.INCONSISTENT_GROUP_PROTOCOL, request.member)
        now_s = trio.current_time()
        if member is None:
            self._named[client] += 1
            member = Member(f"{client}-{self._named[client]}", 0.0, 0.0, (), now_s)
            self.members[member.name] = member
            self.on_change(f"{member.name} joins {self.name}")
        elif self.state is State.STABLE and request.protocols == member.protocols and member.name != self.leader:
            return self._joined(
                member
            )  # nothing has changed; only a leader that asks again wants everything divided anew
        member.session_timeout_s = request.session_timeout_ms / 1000
        member.rebalance_timeout_s = request.rebalance_timeout_ms / 1000
        member.protocols = request.protocols
        if member.joining is not None:
            member.joining.give(
                _refused(Code.UNKNOWN_MEMBER_ID, member.name)
            )  # it asks again: nobody waits there any more
        answer = member.joining = _Answer()
        self._rebalance()
        response = await answer.wait()
        assert isinstance(response, JoinGroupResponse)
        return response

    async def sync(self, request: SyncGroupRequest) -> SyncGroupResponse:
        """What is my part? The leader brings the answer for all, the others wait for it."""
        member = self.members.get(request.member)
        code = self._check(member, request.generation)
        if member is None or code is not Code.NONE:
            return SyncGroupResponse(code, b"")
        if self.state is State.JOINING:
            return SyncGroupResponse(Code.REBALANCE_IN_PROGRESS, b"")
        if self.state is State.STABLE:
            self._heard_of(member)
            return SyncGroupResponse(Code.NONE, member.assignment)
        if member.syncing is not None:
            member.syncing.give(SyncGroupResponse(Code.UNKNOWN_MEMBER_ID, b""))
        answer = member.syncing = _Answer()
        if member.name == self.leader:
            shares = {each.member: each.assignment for each in request.assignments}
            for each in self.members.values():
                each.assignment = shares.get(each.name, b"")
            self.state = State.STABLE
            self._answer_syncs(Code.NONE)
            self.on_stable(self)
        self.changed()
        response = await answer.wait()
        assert isinstance(response, SyncGroupResponse)
        return response

    def heartbeat(self, request: HeartbeatRequest) -> Code:
        """“I am still here.” The answer may be that all must join again."""
        member = self.members.get(request.member)
        code = self._check(member, request.generation)
        if member is not None and code is Code.NONE:
            self._heard_of(member)
            return Code.REBALANCE_IN_PROGRESS if self.state is State.JOINING else Code.NONE
        return code

    def leave(self, name: str) -> Code:
        """A member says goodbye: the others need not wait for its session to end."""
        if name not in self.members:
            return Code.UNKNOWN_MEMBER_ID
        self._remove(self.members[name], f"{name} leaves {self.name}")
        return Code.NONE

    def may_commit(self, name: str, generation: int) -> Code:
        """Whether a commit is still good: not from somebody whose partitions have gone to another by now."""
        if not self.members and generation < 0:
            return Code.NONE  # a consumer that uses the group's name without being a member
        member = self.members.get(name)
        code = self._check(member, generation)
        if member is not None and code is Code.NONE:
            if self.state is State.DIVIDING:
                return Code.REBALANCE_IN_PROGRESS
            self._heard_of(member)
        return code

    # --- what time does -------------------------------------------------------------------------------------------------

    @property
    def next_deadline_s(self) -> float:
        """When `look_at_the_clock` has something to do, if nothing else happens."""
        ends = [each.expires_s for each in self.members.values() if not each.waits_for_us]
        return min([self._join_until_s if self.state is State.JOINING else math.inf, *ends])

    def look_at_the_clock(self) -> None:
        """End sessions that are over, and a phase of joining that has lasted long enough."""
        now_s = trio.current_time()
        for member in list(self.members.values()):
            if member.expires_s <= now_s and not member.waits_for_us:
                self._remove(member, f"no heartbeat from {member.name} for {member.session_timeout_s:g} s")
        if self.state is State.JOINING and self._join_until_s <= now_s:
            for member in [each for each in self.members.values() if each.joining is None]:
                self._remove(member, f"{member.name} did not join again in time")
            if self.state is State.JOINING:
                self._begin_generation()

    # --- the phases of a rebalance --------------------------------------------------------------------------------------

    def _rebalance(self) -> None:
        """All must join (again); those who wait for their part of the old generation learn that it will not come."""
        if self.state is not State.JOINING:
            if self.state is State.DIVIDING:
                self._answer_syncs(Code.REBALANCE_IN_PROGRESS)
            self._is_first = self.state is State.EMPTY
            patience_s = (
                self.initial_delay_s()
                if self._is_first
                else max(each.rebalance_timeout_s for each in self.members.values())
            )
            self.state = State.JOINING
            self._join_until_s = trio.current_time() + patience_s
        if not self._is_first and all(each.joining is not None for each in self.members.values()):
            self._begin_generation()
        self.changed()

    def _begin_generation(self) -> None:
        """Everybody is here."""
        self._join_until_s, self._is_first = math.inf, False
        self.generation += 1
        if not self.members:
            self.state = State.EMPTY
            return
        self.state = State.DIVIDING
        self.protocol = self._common(each.protocols for each in self.members.values())[0]
        if self.leader not in self.members:
            self.leader = next(iter(self.members))
        for member in self.members.values():
            self._heard_of(member)
            if member.joining is not None:
                member.joining.give(self._joined(member))
                member.joining = None
        self.changed()

    def _joined(self, member: Member) -> JoinGroupResponse:
        others = (
            tuple(JoinedMember(each.name, each.subscription(self.protocol)) for each in self.members.values())
            if member.name == self.leader
            else ()
        )
        return JoinGroupResponse(0, Code.NONE, self.generation, self.protocol, self.leader, member.name, others)

    def _answer_syncs(self, code: Code) -> None:
        for member in self.members.values():
            if member.syncing is not None:
                self._heard_of(member)
                member.syncing.give(SyncGroupResponse(code, b"" if code else member.assignment))
                member.syncing = None

    def _remove(self, member: Member, why: str) -> None:
        del self.members[member.name]
        self.on_change(why)
        if member.joining is not None:
            member.joining.give(_refused(Code.UNKNOWN_MEMBER_ID, member.name))
        if member.syncing is not None:
            member.syncing.give(SyncGroupResponse(Code.UNKNOWN_MEMBER_ID, b""))
        if self.members:
            self._rebalance()
        else:
            self.state = State.JOINING  # of a generation without anybody
            self._begin_generation()
            self.changed()

    # --- small things ---------------------------------------------------------------------------------------------------

    def _check(self, member: Member | None, generation: int) -> Code:
        if member is None:
            return Code.UNKNOWN_MEMBER_ID
        return Code.NONE if generation == self.generation else Code.ILLEGAL_GENERATION

    def _heard_of(self, member: Member) -> None:
        member.expires_s = trio.current_time() + member.session_timeout_s
        self.changed()

    def _common(self, protocols: Iterable[tuple[GroupProtocol, ...]]) -> list[str]:
        """The ways of dividing that all of them know, in the order of the first."""
        known = [[each.name for each in some] for some in protocols]
        return [name for name in known[0] if all(name in names for names in known)]


def _refused(code: Code, member: str) -> JoinGroupResponse:
    return JoinGroupResponse(0, code, -1, "", "", member, ())
