"""Hypothesis strategies for orders: everything a person could say to a run of a lesson, at any time."""

from hypothesis import strategies as st

from engines.lab.commands import MESSAGE_KINDS, TimedCommand, check_command, parse_command
from engines.lab.knobs import Knob, KnobBoard, Number, Value
from engines.patterns.contract import Lesson
from tests.patterns.runs import other_values, text_of

HORIZON_S = 15.0
MOST_ORDERS = 14


def knob_orders(knob: Knob) -> st.SearchStrategy[str]:
    """Turn `knob` to its default, near it, or elsewhere."""
    values: list[Value] = [knob.default, *other_values(knob)]
    if isinstance(knob, Number):
        values += [knob.stepped(knob.default, steps) for steps in (-4, -2, 1, 2)]
        # The far end of a large range makes runs long and shows nothing that the near end does not.
        values = [value for value in values if not 1e6 < float(value) < float("inf")]
    return st.sampled_from([f"set {knob.name} {text_of(knob, value)}" for value in values])


def fault_orders(lesson: Lesson) -> st.SearchStrategy[str]:
    """The lesson's own faults, and the whole language of faults over its hosts."""
    hosts = st.sampled_from([spec.name for spec in lesson.hosts])
    pairs = st.permutations([spec.name for spec in lesson.hosts]).map(lambda names: (names[0], names[1]))
    origins = st.one_of(st.just(""), hosts.map(lambda host: f" from {host}"))
    kinds = st.sampled_from(MESSAGE_KINDS)
    amounts = st.sampled_from(["0%", "30%", "70%", "100%", "0B", "1B", "40B", "5kB", "60kB"])
    own = [order for fault in lesson.faults for order in (fault.on, fault.off) if order is not None]
    return st.one_of(
        st.sampled_from(own),
        st.builds("{} {}".format, st.sampled_from(["kill", "restart", "move", "unplug", "plug"]), hosts),
        st.builds(
            lambda verb, pair, arrow: f"{verb} {pair[0]}{arrow}{pair[1]}",
            st.sampled_from(["cut", "hold", "restore"]),
            pairs,
            st.sampled_from(["-", ">"]),
        ),
        st.builds("reset c{}".format, st.integers(1, 8)),
        st.builds(
            "{} next {} {}{}".format,
            st.sampled_from(["drop", "lose", "hold", "duplicate"]),
            st.integers(1, 5),
            kinds,
            origins,
        ),
        st.builds("{} after {} of next {}{}".format, st.sampled_from(["reset", "cut"]), amounts, kinds, origins),
        st.builds("{} #{}".format, st.sampled_from(["drop", "hold", "release", "duplicate"]), st.integers(0, 400)),
        st.just("release"),
        hosts.map(lambda host: f"restart {host}"),
        hosts.map(lambda host: f"plug {host}"),
    )


def any_order(lesson: Lesson) -> st.SearchStrategy[str]:
    """A fault more often than the turn of a knob."""
    return st.one_of(fault_orders(lesson), fault_orders(lesson), st.one_of(*map(knob_orders, lesson.all_knobs())))


def orders(lesson: Lesson) -> st.SearchStrategy[list[TimedCommand]]:
    """Up to MOST_ORDERS valid commands for `lesson`, in the order of their times."""
    board = KnobBoard(lesson.all_knobs())
    names = [spec.name for spec in lesson.hosts]

    def timed(time_ms: int, text: str) -> TimedCommand:
        command = parse_command(text)
        check_command(command, names, board)
        return TimedCommand(time_ms / 1000, command)

    one = st.builds(timed, st.integers(0, int(HORIZON_S * 1000)), any_order(lesson))
    return st.lists(one, max_size=MOST_ORDERS).map(lambda found: sorted(found, key=lambda timed: timed.time_s))


Steering = list[tuple[str, float | str]]


def steering(lesson: Lesson) -> st.SearchStrategy[Steering]:
    """What hands do at the controls of a session: steps, stretches flat out, glimpses at a pace, and orders in between."""
    hand = st.one_of(
        st.just(("step", 0.0)),
        st.tuples(st.just("run on"), st.floats(0.01, 3.0)),
        st.tuples(st.just("glimpse"), st.sampled_from([1.0, 100.0, 10_000.0])),
        any_order(lesson).map(lambda text: ("order", text)),
        any_order(lesson).map(lambda text: ("order", text)),
    )
    return st.lists(hand, max_size=MOST_ORDERS)
