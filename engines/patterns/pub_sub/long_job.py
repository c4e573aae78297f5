"""A long job over a broker: the video goes to a topic, a worker takes it from there, and the result goes to another topic.

MQTT 5 has names for that (section 4.10): the request says in its Response Topic where the answer is to go, and in its
Correlation Data what it is the answer to.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import trio

from engines.lab.facts import EventBorn, EventHandled, Measured, MessageStarted, Noted, TimedOut
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import JOB_KNOBS, Job, Jobs, event_when_done
from engines.patterns.pub_sub.clients import PERSISTENCE_KNOB, Terms, stay_connected, subscribed
from engines.patterns.pub_sub.troubles import KILL_BROKER
from engines.patterns.troubles import KILL_CLIENT, KILL_SERVER, UNPLUG_CLIENT
from engines.patterns.workload import LONG_JOB
from engines.wire.mqtt import MqttDissector
from engines.wire.mqtt_broker import MqttBroker, Policy
from engines.wire.mqtt_client import ClientSession, MqttClient, Received
from engines.wire.mqtt_packets import PORT, MqttConnectionLost, Properties

VIDEOS, RESULTS = "videos", "results"
TERMS = Terms(clean_start=False, session_expiry_s=3600)

# --- the server, a worker -----------------------------------------------------------------------------------------------


async def server(host: Host) -> None:
    """Takes videos from a topic, converts them in their order, and publishes each result where the video says."""
    jobs = Jobs(host)
    session = ClientSession()
    wanted: dict[str, Properties] = host.disk.setdefault("wanted", {})  # handle -> to whom the result goes

    def answer(job: Job) -> None:
        to = wanted.pop(job.handle)
        session.publish(to.response_topic or RESULTS, job.to_json().encode(), qos=1, properties=to)

    async def convert(job: Job, when_done: Callable[[], None]) -> None:
        await jobs.wait_done(job)
        answer(job)
        when_done()

    async def work(client: MqttClient) -> None:
        await subscribed(client, VIDEOS, 1)
        async for video in client:
            job = jobs.accept()
            wanted[job.handle] = Properties(
                response_topic=video.packet.response_topic, correlation_data=video.packet.correlation_data
            )
            if host.knobs["worker-acks"] == "when done":
                nursery.start_soon(convert, job, partial(ack, video))
            else:
                ack(video)
                nursery.start_soon(convert, job, lambda: None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jobs.work)
        for handle in list(wanted):
            job = jobs.find(handle)
            if job is not None:
                nursery.start_soon(convert, job, lambda: None)
            else:
                del wanted[handle]  # it was in memory
        await stay_connected(host, work, session=session, terms=lambda: TERMS)


def ack(video: Received) -> None:
    """From here on the broker need not keep it for us; if it cannot be told, we will get it again."""
    with suppress(MqttConnectionLost):
        video.ack()


# --- the broker ---------------------------------------------------------------------------------------------------------


async def broker(host: Host) -> None:
    """Keeps videos for a worker that is not there, and results for a client that is not."""
    await MqttBroker(host, Policy(persistence=lambda: host.knobs.on("persistence"))).serve()


# --- the client ---------------------------------------------------------------------------------------------------------


async def client(host: Host) -> None:
    """Publishes a video, waits for its result, and after a while publishes the next."""
    session: ClientSession = host.disk.setdefault("session", ClientSession())
    results, heard = trio.open_memory_channel[bytes](100)

    async def listen(connected: MqttClient) -> None:
        await subscribed(connected, RESULTS, 1)
        async for result in connected:
            event = event_when_done(result.payload)
            if event is not None:
                host.event_handled(event)
            results.send_nowait(result.packet.correlation_data or b"")
            result.ack()

    async def keep_publishing() -> None:
        while True:
            video = host.rng.randbytes(int(host.knobs.number("video-size")))
            name = b"%08x" % host.rng.getrandbits(32)
            session.publish(VIDEOS, video, qos=1, properties=Properties(response_topic=RESULTS, correlation_data=name))
            patience_s = host.knobs.number("patience")
            with trio.move_on_after(patience_s) as limit:
                while await heard.receive() != name:
                    pass  # of an earlier one, that we had given up
            if limit.cancelled_caught:
                host.timed_out("result", patience_s)
                host.measure("jobs lost")
            else:
                host.measure("videos done")
                await trio.sleep(host.knobs.number("pause"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_publishing)
        await stay_connected(host, listen, session=session, terms=lambda: TERMS)


# --- the lesson ---------------------------------------------------------------------------------------------------------

LESSON = Lesson(
    name="long-job",
    title="A long job",
    purpose="The video goes to a topic, the result to another: nobody holds a request open, nobody asks, and either may be away.",
    hosts=(HostSpec("client", client), HostSpec("broker", broker), HostSpec("server", server)),
    protocols={PORT: MqttDissector},
    network={"latency": 0.15},
    until_s=30.0,
    workload=LONG_JOB,
    knobs=(
        *JOB_KNOBS,
        Number("pause", "pause", "s", 1.0, 0.1, 600.0, 1.0, "the client's pause before it publishes the next video"),
        Choice("worker-acks", "server acks", "when accepted", ("when accepted", "when done"),
               "until the server acknowledges a video, the broker has it, and gives it out again"),
        Number("patience", "patience", "s", 15.0, 0.5, 600.0, 5.0, "after this the client gives a job up for lost"),
        PERSISTENCE_KNOB,
    ),
    faults=(KILL_SERVER, KILL_CLIENT, UNPLUG_CLIENT, replace(KILL_BROKER, key="b")),
    metrics=("measured:videos done", "event-delay", "event-delay-max", "bytes", "bytes-per-event-byte", "measured:jobs lost",
             "requests", "open"),
    beats=(
        Beat(TimedOut, "Silence for {after_s} s: the client gives the job up. Nobody said that it is lost; nobody knows whom to"
             " tell.", {"what": "result"}),
        Beat(Measured, "A job is lost: it was acknowledged, and then forgotten.", {"what": "jobs lost"}),
        Beat(EventHandled, "The client knows that its video is done, two transits after it was."),
        Beat(EventBorn, "The video is done, and the server publishes the result where the video said."),
        Beat(MessageStarted, "{label}: a video for whoever converts videos. The client does not know who that is.",
             {"label": "PUBLISH .*videos", "sender": "client"}),
        Beat(MessageStarted, "{label}: the broker hands the video on, to whoever has subscribed.", {"label": "PUBLISH .*videos"}),
        Beat(MessageStarted, "{label}: the result, on the topic that the client had named.", {"label": "PUBLISH .*results"}),
        Beat(Noted, "{host}: {text}."),
    ),
    try_next=(
        "Kill the server and restart it: it had acknowledged the video, and forgot it. The client waits in vain for 15 s.",
        "Let it ack when done, kill it and restart it: the broker still has the video, and gives it out again.",
        "Keep the handles in a store, kill the server and restart it: it goes on with what it had accepted.",
        "Kill the client while the server works, and restart it later: the result has waited for it at the broker.",
        "Kill the server, and restart it after 10 s: videos that are published meanwhile wait for it. No error, only delay.",
        "Kill the broker: nobody hears of anybody any more. It is what all depend on, and so there should be more than one.",
    ),
)  # fmt: skip
