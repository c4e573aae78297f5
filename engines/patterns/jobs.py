"""Long jobs, the same for every pattern: a server takes a video, hands out a handle at once, and converts it in its own time.

The handle is all that client and server have in common. Where the server keeps what belongs to it (in its memory or in a
store on its disk) decides whether a restart of the server is a delay or a loss. A job that is done is an event: the numbers
about events then say how late its client heard of it, whichever way it learned.
"""

import json
from dataclasses import dataclass

import trio

from engines.lab.host import Host
from engines.lab.knobs import Choice, Knob, Number
from engines.patterns.workload import JOB_TIME_KNOB

VIDEO_SIZE_KNOB = Number(
    "video-size", "video", "B", 3000, 100, 1_000_000, 1000, "bytes of the upload: few, for a video", ratio=2.0, integer=True
)  # fmt: skip
JOB_SPREAD_KNOB = Number(
    "job-spread",
    "job time varies",
    "%",
    0.0,
    0.0,
    1.0,
    0.1,
    "each job takes the job time, plus or minus up to this share of it",
)
HANDLES_KNOB = Choice(
    "handles-kept",
    "handles kept",
    "memory",
    ("memory", "store"),
    "where the server keeps the jobs that it accepts from now on",
)
JOB_KNOBS: tuple[Knob, ...] = (JOB_TIME_KNOB, JOB_SPREAD_KNOB, VIDEO_SIZE_KNOB, HANDLES_KNOB)
"""What a lesson about long jobs declares; `Jobs` reads all of them but the size, which is its client's."""


@dataclass(slots=True)
class Job:
    """One job. `event` is the number of the event that it was done, 0 until then."""

    handle: str
    seconds: float
    begun_s: float | None = None
    event: int = 0

    @property
    def done(self) -> bool:
        return self.event > 0

    def left_s(self, now_s: float) -> float:
        """How much work there is left in it."""
        if self.done:
            return 0.0
        return self.seconds if self.begun_s is None else max(0.0, self.begun_s + self.seconds - now_s)

    def to_json(self) -> str:
        """Its state on the wire."""
        status: dict[str, str | int] = {
            "job": self.handle,
            "state": "working" if self.begun_s is not None else "queued",
        }
        if self.done:
            status |= {"state": "done", "event": self.event, "video": f"/videos/{self.handle}"}
        return json.dumps(status, separators=(",", ":"))


def event_when_done(status: str | bytes) -> int | None:
    """Read what `Job.to_json` wrote: the number of the event that the job was done, None while it is not."""
    event: int | None = json.loads(status).get("event")
    return event


class Jobs:
    """The jobs of a server, and its one worker, which takes them in their order.

    Make it anew when the server starts: what was only in memory is gone then, what was in the store is there, and a job that
    had been begun is begun again.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._memory: dict[str, Job] = {}
        self._store: dict[str, Job] = host.disk.setdefault("jobs", {})
        self._chance = host.randomness("job times")
        self._changed = trio.Event()
        for job in self._store.values():
            if not job.done:
                job.begun_s = None

    def accept(self) -> Job:
        """Take on a job and name it. The name cannot be guessed, so that nobody asks for another's job."""
        base_s, spread = self._host.knobs.number("job-time"), self._host.knobs.number("job-spread")
        job = Job(f"{self._host.rng.getrandbits(32):08x}", base_s * (1 + spread * self._chance.uniform(-1.0, 1.0)))
        (self._store if self._host.knobs["handles-kept"] == "store" else self._memory)[job.handle] = job
        self._change()
        return job

    def find(self, handle: str) -> Job | None:
        """The job of that name; None when there is none, or not any more."""
        return self._memory.get(handle) or self._store.get(handle)

    def left_s(self, job: Job) -> float:
        """In how many seconds `job` will be done, as the server sees it: its own work and what is in front of it."""
        if job.done:
            return 0.0
        queue = self._waiting()
        return sum(each.left_s(trio.current_time()) for each in queue[: queue.index(job) + 1])

    async def wait_done(self, job: Job) -> None:
        """Return when `job` is done."""
        while not job.done:
            await self._changed.wait()

    async def work(self) -> None:
        """The worker: do the jobs one after another, for ever."""
        while True:
            for job in self._waiting()[:1]:
                job.begun_s = trio.current_time()
                await self._host.work(f"convert video {job.handle}", job.seconds)
                job.event = self._host.event_born(len(job.to_json()))
                self._change()
            if not self._waiting():
                await self._changed.wait()

    def _waiting(self) -> list[Job]:
        """What is not done yet, in the order of the work: what is begun, then the store, which may have old jobs."""
        waiting = [job for kept in (self._store, self._memory) for job in kept.values() if not job.done]
        return sorted(waiting, key=lambda job: job.begun_s is None)

    def _change(self) -> None:
        """Wake whoever waits for the jobs to change."""
        self._changed.set()
        self._changed = trio.Event()
