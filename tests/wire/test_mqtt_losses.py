"""What each QoS promises, when packets are lost: each packet of the exchange in turn, and then whatever hypothesis thinks of.

TCP repairs the loss of a packet. One is lost for good only together with its connection, and so that is what happens here.
"""

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.lab.host import Host
from engines.wire.mqtt_broker import Policy
from engines.wire.mqtt_client import ClientSession, mqtt_connect
from engines.wire.mqtt_packets import MqttConnectionLost
from tests.wire.mqtt_world import World

PERSISTENT = Policy(persistence=lambda: True)
EXPIRY_S = 1000
END_S = 60.0


class Delivery(World):
    """`count` messages from 2 s on, one every half second; `handled` is what the subscriber dealt with, in order."""

    def __init__(self, qos: int, count: int, *commands: str, clean_start: bool = False, until_s: float = END_S) -> None:
        self.handled: list[int] = []
        self.repeated: list[int] = []
        self.qos = qos
        self.clean_start = clean_start
        self.count = count
        super().__init__(
            *commands, publisher=self.publish, subscriber=self.subscribe, policy=PERSISTENT, until_s=until_s
        )

    async def publish(self, host: Host) -> None:
        host.note("finished")
        session = host.disk.setdefault("session", ClientSession())

        async def publish_all() -> None:
            await trio.sleep_until(2)
            while host.disk.setdefault("published", 0) < self.count:
                host.disk["published"] += 1
                session.publish("t", str(host.disk["published"]).encode(), qos=self.qos)
                await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publish_all)
            await self.stay_connected(host, session, "publisher")

    async def subscribe(self, host: Host) -> None:
        host.note("finished")
        await self.stay_connected(host, host.disk.setdefault("session", ClientSession()), "subscriber")

    async def stay_connected(self, host: Host, session: ClientSession, name: str) -> None:
        while True:
            try:
                async with mqtt_connect(
                    host, "broker", name, session=session, clean_start=self.clean_start, session_expiry_s=EXPIRY_S,
                    keep_alive_s=3,
                ) as client:  # fmt: skip
                    if name == "publisher":
                        await client.wait_lost()
                    if not client.session_present:
                        await client.subscribe("t", 2)
                    async for received in client:
                        self.handled.append(int(received.payload))
                        self.repeated += [int(received.payload)] * received.repeated
                        received.ack()
            except (MqttConnectionLost, OSError):
                await trio.sleep(0.5)


HOPS = (("publisher", "broker"), ("broker", "subscriber"))
LOSSES = [
    # QoS, what is lost, whether the sender of the message says it, and how often the message is handled then
    (0, "PUBLISH", True, 0),
    (1, "PUBLISH", True, 1),
    (1, "PUBACK", False, 2),
    (2, "PUBLISH", True, 1),
    (2, "PUBREC", False, 1),
    (2, "PUBREL", True, 1),
    (2, "PUBCOMP", False, 1),
]


@pytest.mark.parametrize("hop", HOPS)
@pytest.mark.parametrize(("qos", "kind", "by_sender", "times"), LOSSES)
def test_every_packet_lost_in_turn(qos: int, kind: str, by_sender: bool, times: int, hop: tuple[str, str]) -> None:
    sender, receiver = hop
    run = Delivery(qos, 1, f"1 lose next {kind} from {sender if by_sender else receiver}", until_s=10.0)
    assert run.handled == [1] * times
    said = [label for label in run.labels(sender, receiver) if label.startswith("PUB")]
    again = {"PUBLISH": "PUBLISH QoS {0} id 1 DUP t", "PUBACK": "PUBLISH QoS {0} id 1 DUP t",
             "PUBREC": "PUBLISH QoS {0} id 1 DUP t", "PUBREL": "PUBREL 1", "PUBCOMP": "PUBREL 1"}  # fmt: skip
    if qos:
        assert said.count(again[kind].format(qos)) == 1 + (again[kind] == "PUBREL 1")
    # The broker's copy is a message of its own: a repetition on the way in is none on the way out (3.3.1.1).
    assert run.repeated == (
        [1] if hop == HOPS[1] and qos == 1 else [1] if hop == HOPS[1] and kind == "PUBLISH" and qos else []
    )


def test_with_a_clean_start_exactly_once_is_not_kept() -> None:
    """Who forgets the session cannot know that he has had the message; whoever publishes it again makes two of it."""
    twice = Delivery(2, 1, "1 lose next PUBREC from broker", clean_start=True, until_s=10.0)
    assert twice.handled == [1, 1]
    never = Delivery(2, 1, "1 lose next PUBLISH from broker", clean_start=True, until_s=10.0)
    assert never.handled == []
    assert never.dropped == [("subscriber", "1", "its session is over")]


KINDS = st.sampled_from(
    ["PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "CONNECT", "CONNACK", "SUBACK", "packet", "push"]
)
NAMES = st.sampled_from(["publisher", "broker", "subscriber"])
ORDERS = st.one_of(
    st.builds("{} next {} {}".format, st.sampled_from(["lose", "drop", "lose"]), st.integers(1, 3), KINDS),
    st.builds("{} {}".format, st.sampled_from(["kill", "restart", "unplug", "plug"]), NAMES),
    st.builds("{} broker>{}".format, st.sampled_from(["cut", "restore"]), st.sampled_from(["publisher", "subscriber"])),
    st.builds("reset c{}".format, st.integers(1, 9)),
)
SCHEDULES = st.lists(st.tuples(st.integers(0, 2000), ORDERS), max_size=8).map(sorted)
REPAIRS = [
    "21 set loss 0", "21 plug publisher", "21 plug broker", "21 plug subscriber", "21 restore broker>publisher",
    "21 restore broker>subscriber", "22 restart broker", "23 restart publisher", "23 restart subscriber",
]  # fmt: skip


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_promise_holds_whatever_breaks(qos: int) -> None:
    """Everybody keeps his session on his disk; in the end everything is repaired, and everybody has time to settle."""

    @settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(SCHEDULES)
    def holds(schedule: list[tuple[int, str]]) -> None:
        run = Delivery(qos, 12, *(f"{at / 100} {order}" for at, order in schedule), *REPAIRS)
        first = list(dict.fromkeys(run.handled))
        assert first == sorted(first), "out of order"
        if qos == 0:
            assert len(first) == len(run.handled)
        if qos >= 1 and first:
            assert first == list(range(first[0], 13))  # before the subscription there is nobody to hear
        if qos == 2:
            assert len(first) == len(run.handled)

    holds()
