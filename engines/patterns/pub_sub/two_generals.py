"""Two generals: why no number of acknowledgements is enough.

Two armies on two hills win if both attack, and whichever attacks alone is beaten. Their messengers have to pass through the
valley, where the enemy catches each with the chance p. The plan is a message and n acknowledgements, each of the one before, and
a general attacks if he got all that were for him. So both attack if all n + 1 get through: (1 - p)^(n + 1). Whoever sends the
last waits for nothing more, and attacks whether it arrives or not: one army is alone with the chance p (1 - p)^n, and that is 0
for no n.

Nor is there a better plan. Of any that works, take the run with the fewest messages that ends with both attacking. Its last
message may be lost; its sender cannot tell, and attacks; so the receiver has to attack without it, and it was not needed after
all (Akkoyunlu, Ekanadham and Huber, 1975, who wrote of gangsters; generals since Gray, "Notes on data base operating systems",
1978).
"""

import re
from contextlib import suppress

import trio

from engines.lab.facts import MessageStarted, Noted, PacketDropped, Role
from engines.lab.host import Host
from engines.lab.knobs import Number
from engines.lab.scenario import Fault, HostSpec, Program
from engines.patterns.contract import Beat, Lesson
from engines.wire.plain import Plain, PlainDissector, line_at
from engines.wire.plain_peers import PlainCaller, PlainLost, PlainStream, serve_plain

MESSENGERS, BATTLE = 7000, 7001
DAY_S, EVENING_S = 4.0, 1.0
"""One second of a day has gone when north sends its plan; at the end of the day is the dawn of the attack."""
NOTHING = -1

_PLAN = re.compile(r"ATTACK day (\d+)")
_WANTED = re.compile(rb"acknowledgements wanted: (\d+)")
_ACK = re.compile(r"ACK (\d+) of (\d+)")
_DAY = re.compile(rb"day (\d+)")
_DEED = re.compile(r"(north|south) (attacks|stays)")

# --- the generals -------------------------------------------------------------------------------------------------------


def general(name: str) -> Program:
    """The program of a general; north has the plan, and south agrees to it, or never hears of it."""

    async def lead(host: Host) -> None:
        agreement = Agreement()

        async def send(number: int) -> None:
            for _ in range(int(host.knobs.number("messengers"))):
                await socket.send_to(agreement.message(number).encode(), "valley", MESSENGERS)

        async def listen() -> None:
            while True:
                data, _ = await socket.receive_from()
                answer = agreement.hear(data)
                if answer is not None:
                    await send(answer)

        with host.datagram_socket(MESSENGERS) as socket:
            async with trio.open_nursery() as nursery:
                valley = PlainCaller(host, nursery, "valley", BATTLE)
                nursery.start_soon(valley.open)
                nursery.start_soon(listen)
                while True:
                    day = int(trio.current_time() / DAY_S) + 1
                    agreement.begin(day)
                    await trio.sleep_until((day - 1) * DAY_S + EVENING_S)
                    if name == "north":
                        agreement.wanted = int(host.knobs.number("acknowledgements"))
                        await send(0)
                    await trio.sleep_until(day * DAY_S)
                    does = "attacks" if agreement.complete(odd=name == "north") else "stays"
                    nursery.start_soon(strike, valley, f"{name} {does}", day)

    return lead


class Agreement:
    """What a general knows of a day's plan: how many acknowledgements it wants, and which message came last."""

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, day: int) -> None:
        self.day = day
        self.wanted = self.heard = NOTHING

    def message(self, number: int) -> Plain:
        """Message 0 is the plan, and each later one acknowledges the one before it."""
        if number == 0:
            return Plain(Role.REQUEST, 0, f"ATTACK day {self.day}", b"acknowledgements wanted: %d" % self.wanted)
        return Plain(Role.ACK, 0, f"ACK {number} of {self.wanted}", b"day %d" % self.day)

    def hear(self, data: bytes) -> int | None:
        """Take a message; the number of the one that answers it, if the plan wants one. What comes again, or when the day is
        over, is nothing."""
        line = line_at(data)
        if line is None:
            return None
        words, body = line.text, data[line.size :]
        if (plan := _PLAN.fullmatch(words)) and (terms := _WANTED.fullmatch(body)):
            day, number, wanted = int(plan[1]), 0, int(terms[1])
        elif (ack := _ACK.fullmatch(words)) and (date := _DAY.fullmatch(body)):
            day, number, wanted = int(date[1]), int(ack[1]), int(ack[2])
        else:
            return None
        if day != self.day or number <= self.heard:
            return None
        self.heard, self.wanted = number, wanted
        return number + 1 if number < wanted else None

    def complete(self, *, odd: bool) -> bool:
        """Whether all has come that was to come: south hears the even numbers, and north the odd ones."""
        last = self.wanted if self.wanted % 2 == odd else self.wanted - 1
        return self.wanted != NOTHING and self.heard == last


async def strike(valley: PlainCaller, text: str, day: int) -> None:
    """Do as was decided, in full view of the enemy. An attack, unlike a message, cannot be lost."""
    with suppress(PlainLost):  # the valley is not there, or cannot be reached: no battle
        await valley.tell(text, b"day %d" % day, Role.REQUEST)


# --- the valley ---------------------------------------------------------------------------------------------------------


async def valley(host: Host) -> None:
    """The enemy's camp: catches messengers or lets them pass, and is the only one that sees what both armies do at dawn."""
    days: dict[int, dict[str, bool]] = {}

    async def withstand(message: Plain, stream: PlainStream) -> None:
        deed, date = _DEED.fullmatch(message.text), _DAY.fullmatch(message.body)
        if deed is None or date is None:
            return
        day = int(date[1])
        attacks = days.setdefault(day, {})
        attacks[deed[1]] = deed[2] == "attacks"
        if len(attacks) == 2:
            del days[day]
            outcome = OUTCOMES[sum(attacks.values())]
            host.measure(outcome)
            host.note(f"day {day}: {outcome}")

    async def let_pass() -> None:
        while True:
            messenger, (sender, _) = await socket.receive_from()
            if host.rng.random() < host.knobs.number("caught"):
                host.measure("messengers caught")
                host.note("caught")
            else:
                await socket.send_to(messenger, "south" if sender == "north" else "north", MESSENGERS)

    with host.datagram_socket(MESSENGERS) as socket:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(let_pass)
            await serve_plain(host, BATTLE, withstand)


OUTCOMES = ("nobody attacks", "only one attacks", "both attack")

# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="two-generals",
    title="Two generals",
    purpose="Attack together or not at all, by messengers who may be caught: how many acknowledgements make both generals sure?",
    hosts=(HostSpec("north", general("north")), HostSpec("valley", valley), HostSpec("south", general("south"))),
    protocols={MESSENGERS: PlainDissector, BATTLE: PlainDissector},
    network={"latency": 0.1},
    until_s=60.0,
    knobs=(
        Number("acknowledgements", "acknowledgements", "", 2, 0, 9, 1,
               "of the plan, of its acknowledgement, and so on; a general attacks when he has got all that are for him",
               integer=True),
        Number("caught", "caught", "%", 0.2, 0.0, 1.0, 0.05, "the chance that the enemy in the valley catches a messenger"),
        Number("messengers", "messengers", "", 1, 1, 10, 1, "how many carry the same message, each on his own", integer=True),
    ),
    faults=(
        Fault("lose-plan", "lose the next plan", "g", "drop next ATTACK from valley",
              "the messenger loses his way behind the valley: south knows of nothing"),
        Fault("lose-ack-to-south", "lose next ack to south", "e", "drop next ACK from north", "north's messenger never arrives"),
        Fault("lose-ack-to-north", "lose next ack to north", "o", "drop next ACK from south", "south's messenger never arrives"),
        Fault("unplug-south", "unplug south", "u", "unplug south", "nobody gets through to the south, nor from there",
              off="plug south"),
        Fault("kill-south", "kill south", "k", "kill south", "south's memory of the day is gone", off="restart south"),
    ),
    metrics=("measured:only one attacks", "measured:both attack", "measured:nobody attacks", "measured:messengers caught",
             "lost"),
    beats=(
        Beat(Noted, "{text}, and is beaten. It had kept to the plan: that its last message was lost it could not know.",
             {"text": ".*only one"}),
        Beat(Noted, "{text}, and they win. But one of them relied on a last message that might as well have been lost.",
             {"text": ".*both"}),
        Beat(Noted, "{text}: a message before the last was lost, and both could tell. No harm, and no victory.",
             {"text": ".*nobody"}),
        Beat(Noted, "A messenger is caught. Whoever sent him is not told, and can only wait for an answer, if one is due.",
             {"text": "caught"}),
        Beat(PacketDropped, "A messenger is lost ({reason}). Whoever sent him is not told."),
        Beat(MessageStarted, "“{label}”: north has a plan, and must not go alone. Has south heard of it?",
             {"label": "ATTACK", "sender": "north"}),
        Beat(MessageStarted, "“{label}”: this is the last. {sender} waits for nothing more, and attacks in any case.",
             {"label": r"ACK (\d) of \1", "sender": "(north|south)"}),
        Beat(MessageStarted, "“{label}”: now I know. Do you know that I know? {sender} waits for an answer.",
             {"label": "ACK", "sender": "(north|south)"}),
        Beat(MessageStarted, "The messenger gets through the valley: “{label}”.", {"sender": "valley"}),
        Beat(MessageStarted, "Dawn. {label}, from what it knows; what the other knows, it can only believe.",
             {"label": "(north|south)"}),
    ),
    try_next=(
        "Set caught to 0 % and lose north's next ack: it was the last, so north attacks alone. It did all that was agreed.",
        "Ask for 9 acknowledgements: lone attacks get rare, and so do common ones, since all ten messages must get through.",
        "Ask for none: north attacks every day, and is alone whenever its plan is caught, one day in five.",
        "Ask for 3, catch nobody, and lose south's ack when it is the last: now south is alone. Every number has its last.",
        "Send 5 messengers with each message: all five are caught once in 3,000 times. Engineers do that. It is not never.",
        "Set latency to 0.6 s: the last message comes after dawn. Too late is as bad as lost, and TCP, too, would be too late.",
    ),
)  # fmt: skip
