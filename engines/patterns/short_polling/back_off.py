"""Back-off: a client that does not know how long the job takes asks soon at first, and then more and more seldom."""

from collections.abc import Iterator
from dataclasses import replace

import trio

from engines.lab.facts import EventBorn, EventHandled, MessageStarted
from engines.lab.host import Host
from engines.lab.knobs import Choice, Number
from engines.lab.scenario import HostSpec
from engines.patterns.contract import Beat, Lesson
from engines.patterns.jobs import HANDLES_KNOB, JOB_SPREAD_KNOB, VIDEO_SIZE_KNOB
from engines.patterns.short_polling.long_job import PAUSE_KNOB, ask, makes_sense_of, server, upload
from engines.patterns.short_polling.pauses import pause
from engines.patterns.troubles import CUT_ANSWERS, KILL_SERVER, LOSE_RESPONSE, UNPLUG_CLIENT
from engines.patterns.workload import JOB_TIME_KNOB
from engines.wire.http1 import Http1Dissector
from engines.wire.http_client import TIMEOUT_KNOBS, http_client

# --- the client (the server is that of the long job) ----------------------------------------------------------------------


async def client(host: Host) -> None:
    """Polls as in the long job, but for the pauses: they begin anew with each video."""
    async with http_client(host, base_url="http://server") as http:
        while True:
            accepted = await upload(host, http)
            for pause_s in pauses(host):
                await pause(host, pause_s)
                if makes_sense_of(host, await ask(host, http, accepted.headers["Location"])):
                    break
            await trio.sleep(host.knobs.number("pause"))


def pauses(host: Host) -> Iterator[float]:
    """The pauses before the polls: all equal, or each twice the one before, up to a cap."""
    grown_s = host.knobs.number("first-pause")
    while True:
        growing = host.knobs["pauses"] == "doubling"
        yield min(grown_s, host.knobs.number("cap")) if growing else host.knobs.number("first-pause")
        grown_s = min(2 * grown_s, 3600.0)


# --- the lesson ---------------------------------------------------------------------------------------------------------

CONNECT_TIMEOUT, READ_TIMEOUT, _, _ = TIMEOUT_KNOBS

LESSON = Lesson(
    name="back-off",
    title="Back-off",
    purpose="Jobs take 1 s or 15 s, and nobody knows before: see what it saves to double the pause after every “not yet”.",
    hosts=(HostSpec("client", client), HostSpec("server", server)),
    protocols={80: Http1Dissector},
    network={"latency": 0.1},
    until_s=60.0,
    knobs=(
        Choice("pauses", "pauses", "doubling", ("doubling", "fixed"), "whether each pause is twice the one before"),
        Number("first-pause", "first pause", "s", 0.5, 0.05, 60.0, 0.25, "before the first poll; all of them, if fixed"),
        Number("cap", "cap", "s", 4.0, 0.05, 600.0, 1.0, "no doubled pause is longer"),
        replace(JOB_TIME_KNOB, default=8.0),
        replace(JOB_SPREAD_KNOB, default=0.9),
        VIDEO_SIZE_KNOB,
        HANDLES_KNOB,
        PAUSE_KNOB,
        READ_TIMEOUT,
        CONNECT_TIMEOUT,
    ),
    faults=(KILL_SERVER, UNPLUG_CLIENT, CUT_ANSWERS, LOSE_RESPONSE),
    metrics=("measured:videos done", "measured:polls", "empty", "event-delay-mean", "event-delay-max", "bytes",
             "measured:jobs lost"),
    beats=(
        Beat(EventHandled, "The video is done and the client knows it. After doubling pauses the wait for that is never much"
             " longer than the job itself."),
        Beat(EventBorn, "The video is done, somewhere in the client's present pause."),
        Beat(MessageStarted, "“Not yet.” If a job has taken this long, it may well take as long again: the next pause is longer.",
             {"label": "204"}),
        Beat(MessageStarted, "{sender} asks whether its video is done.", {"label": "GET /jobs"}),
    ),
    try_next=(
        "Make the pauses fixed: sooner at the end of a long job, for several times as many polls.",
        "Set job time and cap to 60 s: about seven polls for a minute, and a job may lie there done for as long as it took.",
        "Set the cap to 1 s: after two polls it is fixed polling again.",
        "Set the first pause to 0.05 s: doubling forgives a bad guess, a few polls more are all that it costs.",
        "Kill the server: doubling pauses also give it time to come back.",
    ),
)  # fmt: skip
