"""A program in which things happen, and which tells a topic of them."""

from collections.abc import Callable

import trio

from engines.lab.host import Host
from engines.patterns.workload import Event, let_events_happen
from engines.wire.kafka_client import METADATA_MAX_AGE_S, KafkaProducer
from engines.wire.kafka_records import Record


async def publish_what_happens(
    host: Host,
    topic: str,
    record_of: Callable[[Event], Record] = lambda event: Record(event.to_json().encode()),
    *,
    metadata_max_age_s: float = METADATA_MAX_AGE_S,
) -> None:
    """Send everything that happens, and what has piled up since the last answer of the broker together.

    An event stays on the disk until the broker has it. A producer that dies in between says it again when it is back.
    """
    outbox: dict[int, Record] = host.disk.setdefault("outbox", {})
    something_happened = trio.lowlevel.ParkingLot()
    producer = KafkaProducer(host, metadata_max_age_s=metadata_max_age_s)

    async def put(event: Event) -> None:
        outbox[event.number] = record_of(event)
        something_happened.unpark_all()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_events_happen, host, put)
        while True:
            if not outbox:
                await something_happened.park()
            numbers = list(outbox)
            await producer.send(topic, *(outbox[number] for number in numbers))
            for number in numbers:
                del outbox[number]
