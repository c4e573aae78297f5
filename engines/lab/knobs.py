"""Knobs: what a person may turn while a run plays, declared as data.

A knob has a name (for commands: `set latency 80ms`), a title and one line of help for people, and a kind: a number with a
unit and a range, a toggle, or a choice. Values are float, bool or str; `Knob.parse` and `Knob.format` are the only ways
between a value and its text.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches

from engines.lab.units import format_quantity, parse_quantity

Value = float | bool | str


@dataclass(frozen=True, slots=True)
class Number:
    """A number between `minimum` and `maximum` (base units of `unit`, see `units`), turned in steps of `step`.

    With `ratio`, a step multiplies by it instead: for quantities that span magnitudes. `integer` numbers are whole.
    """

    name: str
    title: str
    unit: str
    default: float
    minimum: float
    maximum: float
    step: float
    help: str
    ratio: float | None = None
    integer: bool = False

    def parse(self, text: str) -> float:
        """The value `text` means. Raises ValueError in one clear line when it is no quantity or out of range."""
        value = parse_quantity(text, self.unit)
        if not self.minimum <= value <= self.maximum:
            raise ValueError(
                f"{self.name} goes from {self.format(self.minimum)} to {self.format(self.maximum)}, not {text.strip()}"
            )
        if self.integer and value != round(value):
            raise ValueError(f"{self.name} is a whole number, not {text.strip()}")
        return value

    def format(self, value: Value) -> str:
        return format_quantity(float(value), self.unit)

    def stepped(self, value: Value, steps: int) -> float:
        """`value` after `steps` steps up (or down when negative), kept in range."""
        number = float(value)
        if self.ratio is None:
            moved = round(number / self.step + steps) * self.step if number < self.maximum or steps < 0 else number
        elif steps > 0 and number < self.step:
            moved = self.step
        elif steps < 0 and number <= self.step:
            moved = self.minimum
        else:
            moved = float(f"{number * self.ratio**steps:.2g}") if number < float("inf") else self._below_infinity()
            moved = round(moved) if self.integer else moved
        return float(min(self.maximum, max(self.minimum, round(moved, 9))))

    def _below_infinity(self) -> float:
        return 1e8

    def fraction(self, value: Value) -> float:
        """Where `value` stands in the range, 0 to 1: for a slider."""
        number = min(float(value), 1e12)
        top = min(self.maximum, 1e9 if self.ratio else self.maximum)
        return max(0.0, min(1.0, (number - self.minimum) / (top - self.minimum))) if top > self.minimum else 0.0


@dataclass(frozen=True, slots=True)
class Toggle:
    """On or off, said in words."""

    name: str
    title: str
    default: bool
    help: str
    on: str = "on"
    off: str = "off"

    def parse(self, text: str) -> bool:
        word = text.strip().lower()
        if word in ("on", "yes", "true", "1", self.on.lower()):
            return True
        if word in ("off", "no", "false", "0", self.off.lower()):
            return False
        raise ValueError(f"{self.name} is {self.on!r} or {self.off!r}, not {text.strip()!r}")

    def format(self, value: Value) -> str:
        return self.on if value else self.off

    def stepped(self, value: Value, steps: int) -> bool:
        return not value if steps % 2 else bool(value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    name: str
    title: str
    default: str
    choices: tuple[str, ...]
    help: str

    def parse(self, text: str) -> str:
        word = text.strip().lower()
        if word in self.choices:
            return word
        near = get_close_matches(word, self.choices, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{self.name} is one of {', '.join(self.choices)}, not {text.strip()!r}{hint}")

    def format(self, value: Value) -> str:
        return str(value)

    def stepped(self, value: Value, steps: int) -> str:
        return self.choices[(self.choices.index(str(value)) + steps) % len(self.choices)]


Knob = Number | Toggle | Choice


class KnobBoard(Mapping[str, Value]):
    """The present values of a run's knobs, by name. Programs read it (`host.knobs["service-time"]`); only commands turn it."""

    def __init__(self, knobs: Iterable[Knob]) -> None:
        self.knobs: dict[str, Knob] = {knob.name: knob for knob in knobs}
        self._values: dict[str, Value] = {name: knob.default for name, knob in self.knobs.items()}
        self._watchers: dict[str, list[Callable[[Value], None]]] = {}

    def __getitem__(self, name: str) -> Value:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def number(self, name: str) -> float:
        """The value of a Number knob, in base units."""
        return float(self._values[name])

    def on(self, name: str) -> bool:
        """The value of a Toggle knob."""
        return bool(self._values[name])

    def find(self, name: str) -> Knob:
        """The knob called `name`. Raises ValueError that names the nearest one."""
        if name in self.knobs:
            return self.knobs[name]
        near = get_close_matches(name, self.knobs, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.knobs)}"
        raise ValueError(f"no knob {name!r} here; {hint}")

    def set(self, name: str, value: Value) -> None:
        """Turn a knob. Only the lab calls this, when it applies a command."""
        self._values[name] = value
        for watcher in list(self._watchers.get(name, ())):
            watcher(value)

    @contextmanager
    def watching(self, name: str, watcher: Callable[[Value], None]) -> Iterator[None]:
        """While inside, `watcher` is called with each new value of a knob, at the moment of the turn."""
        watchers = self._watchers.setdefault(name, [])
        watchers.append(watcher)
        try:
            yield
        finally:
            watchers.remove(watcher)


NETWORK_KNOBS: tuple[Number, ...] = (
    Number("latency", "latency", "s", 0.040, 0.0, 10.0, 0.010, "one way, on every link"),
    Number("jitter", "jitter", "s", 0.0, 0.0, 10.0, 0.005, "extra delay of each packet, random from 0 to this"),
    Number(
        "bandwidth", "bandwidth", "B/s", float("inf"), 1000.0, float("inf"), 1e5, "of each link, each way", ratio=2.0
    ),
    Number("loss", "loss", "%", 0.0, 0.0, 0.9, 0.01, "chance that a packet is lost; TCP sends it again after a delay"),
)
"""Knobs that every scenario has; the lab itself applies them to all links."""
