"""What goes wrong with an event stream in particular."""

from engines.lab.scenario import Fault

BREAK_STREAM = Fault(
    "break-stream", "break the stream", "g", "lose next push",
    "the connection is reset before the next event arrives: that event is lost, and the client learns that the stream broke",
)  # fmt: skip
