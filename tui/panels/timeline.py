"""A waterfall: a bar for each request and each event, with what it was doing when; the newest at the bottom."""

from collections.abc import Sequence

from engines.lab.units import format_seconds
from engines.waterfall import Bar, Phase
from tui.panels.glyphs import Glyphs
from tui.panels.lines import Line, Span, fit, line

LABEL_WIDTH, TIME_WIDTH = 26, 10
FIXED = LABEL_WIDTH + TIME_WIDTH + 4

_WORDS = {
    Phase.QUEUED: "queued",
    Phase.CONNECTING: "connecting",
    Phase.SENDING: "sending",
    Phase.WAITING: "waiting",
    Phase.RECEIVING: "receiving",
    Phase.BORN: "not sent yet",
    Phase.TRAVELLING: "on the wire",
    Phase.HANDLING: "not handled yet",
}
_STYLES = {
    Phase.QUEUED: "muted",
    Phase.CONNECTING: "muted",
    Phase.SENDING: "request",
    Phase.WAITING: "text",
    Phase.RECEIVING: "response",
    Phase.BORN: "muted",
    Phase.TRAVELLING: "request",
    Phase.HANDLING: "text",
}


def timeline_lines(
    bars: Sequence[Bar], time_s: float, width: int, glyphs: Glyphs, chosen: int | None = None
) -> list[Line]:
    """The legend and the bars as they looked at `time_s`; the bar of fact `chosen` is marked."""
    if not bars:
        return [line(Span(" No request and no event yet.", "muted"))]
    room = max(8, width - FIXED)
    first_s = min(bar.begun_s for bar in bars)
    last_s = max([first_s, *(time_s if (end_s := bar.end_by(time_s)) is None else end_s for bar in bars)])
    step_s = (last_s - first_s) / room or 1.0
    seen = sorted({phase for bar in bars for phase, _, _ in bar.spans(time_s)})
    rows = [_row(bar, time_s, first_s, step_s, room, glyphs, chosen) for bar in bars]
    return [_legend(seen, first_s, last_s, width, glyphs), *rows]


def _legend(seen: Sequence[Phase], first_s: float, last_s: float, width: int, glyphs: Glyphs) -> Line:
    spans = [Span(" ")]
    for phase in seen:
        spans += [Span(glyphs.phases[phase] * 2, _STYLES[phase]), Span(f" {_WORDS[phase]}   ", "muted")]
    span = f"{first_s:.3f} to {last_s:.3f} s"
    used = sum(len(each.text) for each in spans)
    if used + len(span) + 1 <= width:
        spans.append(Span(span.rjust(width - used - 1), "muted"))
    return line(*spans)


def _row(bar: Bar, time_s: float, first_s: float, step_s: float, room: int, glyphs: Glyphs, chosen: int | None) -> Line:
    end_s = bar.end_by(time_s)
    until_s = time_s if end_s is None else end_s
    marked = chosen is not None and chosen in (bar.fact, bar.answer)
    label = fit(f"{bar.host}: {bar.label}", LABEL_WIDTH, glyphs.ellipsis)
    took = format_seconds(round(until_s - bar.begun_s, 6)) + ("" if end_s is not None else glyphs.ellipsis)
    outcome = f" {bar.outcome}" if end_s is not None and bar.outcome else ""
    phases = bar.spans(time_s)
    cells = [_cell(phases, first_s + n * step_s, first_s + (n + 1) * step_s) for n in range(room)]
    spans = [Span(glyphs.pointer if marked else " "), Span(label, "strong" if marked else "text"), Span(" ")]
    spans += _bars(cells, glyphs)
    free = next((n for n in range(room, 0, -1) if cells[n - 1] is not None), 0)
    if outcome and free + len(outcome) <= room:  # what is not as usual stands right behind the bar
        spans = [
            *spans[:3],
            *_bars(cells[:free], glyphs),
            Span(outcome, "error"),
            Span(" " * (room - free - len(outcome))),
        ]
    spans.append(Span(took.rjust(TIME_WIDTH), "strong" if marked else "text"))
    return line(*spans)


def _cell(spans: Sequence[tuple[Phase, float, float]], start_s: float, stop_s: float) -> Phase | None:
    """What to show for a stretch of time: the last phase that the bar was in during it."""
    return next((phase for phase, since_s, until_s in reversed(spans) if since_s < stop_s and until_s > start_s), None)


def _bars(cells: Sequence[Phase | None], glyphs: Glyphs) -> list[Span]:
    spans: list[Span] = []
    for phase in cells:
        text, style = (" ", "text") if phase is None else (glyphs.phases[phase], _STYLES[phase])
        if spans and spans[-1].style == style and spans[-1].text[-1] == text:
            spans[-1] = Span(spans[-1].text + text, style)
        else:
            spans.append(Span(text, style))
    return spans
