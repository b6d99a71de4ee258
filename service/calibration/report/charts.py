"""Where the marks of the charts stand; the page draws them as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from service.calibration.report.figures import Figures
from service.calibration.report.intervals import Interval
from service.calibration.report.report import CalibrationReport, ModelReport, TopicReport, has_point
from service.calibration.report.routing import Means, Routing

ROW = 22  # height of a model's row in the chart of a topic
FREE_SHARE = 0.5  # position of free models, relative to the least dollars of the others
NEAR = 14  # distance below which two labels would cover one another
QUALITY_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class Span:
    """A mark with its interval, in the units of the drawing."""

    at: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Tick:
    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One model in the chart of quality and dollars; label_y: where its number stands."""

    number: int
    model: ModelReport
    x: Span
    y: Span
    label_y: float


@dataclass(frozen=True, slots=True)
class RoutingMark:
    name: str
    means: Means
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class FrontierChart:
    """Quality against dollars, the dollars on a logarithmic axis.

    Args:
        line: x and y of the models on the frontier, from the cheapest on.
        routing: what routing gets at equal quality and at equal dollars.
    """

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    marks: tuple[Mark, ...]
    line: tuple[tuple[float, float], ...]
    routing: tuple[RoutingMark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """A map of an interval of values to one of positions."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        share = (value - self.first) / (self.last - self.first)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def span(self, interval: Interval) -> Span:
        return Span(self(interval.value), self(interval.low), self(interval.high))


def frontier_chart(report: CalibrationReport, numbers: dict[str, int]) -> FrontierChart | None:
    """The chart; None if no model has both quality and dollars."""
    shown = [model for model in report.models if has_point(model.figures)]
    if not shown:
        return None
    width, height, left, right, top, bottom = 480, 360, 48, 462, 16, 312
    dollars = [1000.0 * bound for model in shown for bound in _bounds(model.figures.cost_usd) if bound > 0]
    least = min(dollars, default=1.0)
    is_any_free = any(
        model.figures.cost_usd is not None and model.figures.cost_usd.value == 0 for model in shown
    )
    start = least * (FREE_SHARE if is_any_free else 1.0)
    first, last = math.log10(start) - 0.1, math.log10(max(dollars, default=1.0)) + 0.1
    x = _Scale(first, last, left, right)
    routed = _routed(report.routing)
    shown_quality = [bound for model in shown for bound in _bounds(model.figures.quality)]
    shown_quality += [means.quality for means in routed.values()]
    floor = max(math.floor(10 * min(shown_quality)) / 10, 0.0)
    ceiling = min(math.ceil(10 * max(shown_quality)) / 10, 1.0)
    y = _Scale(floor, max(ceiling, floor + 0.1), bottom, top)
    marks = _spread([_mark(model, numbers[model.model], x, y, start) for model in shown])
    on_frontier = sorted((mark.x.at, mark.y.at) for mark in marks if mark.model.is_on_frontier)
    return FrontierChart(
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        marks=tuple(marks),
        line=tuple(on_frontier),
        routing=tuple(
            RoutingMark(name, means, x(_log_usd(means.cost_usd, start)), y(means.quality))
            for name, means in routed.items()
        ),
        x_ticks=_dollar_ticks(x, least if is_any_free else 0.0, start),
        y_ticks=tuple(Tick(y(tick), f"{tick:.1f}") for tick in _tenths(floor, max(ceiling, floor + 0.1))),
    )


def _bounds(interval: Interval | None) -> tuple[float, ...]:
    if interval is None:
        return ()
    return tuple(b for b in (interval.value, interval.low, interval.high) if math.isfinite(b))


def _mark(model: ModelReport, number: int, x: _Scale, y: _Scale, start: float) -> Mark:
    cost_usd, quality = model.figures.cost_usd, model.figures.quality
    assert cost_usd is not None
    assert quality is not None
    at, low, high = (x(_log_usd(bound, start)) for bound in (cost_usd.value, cost_usd.low, cost_usd.high))
    span = y.span(quality)
    return Mark(number, model, Span(at, low, high), span, span.at - 9)


def _log_usd(usd: float, start: float) -> float:
    """The position of an amount: free models stand at the start of the axis."""
    return math.log10(min(max(1000.0 * usd, start), 1e12))


def _routed(routing: Routing) -> dict[str, Means]:
    compared = {
        "routing at equal quality": routing.equal_quality,
        "routing at equal dollars": routing.equal_dollars,
    }
    return {name: found.routing for name, found in compared.items() if found is not None}


def _spread(marks: list[Mark]) -> list[Mark]:
    """Move a label up while it would cover that of another model."""
    placed: list[Mark] = []
    for mark in sorted(marks, key=lambda m: -m.y.at):
        label_y = mark.label_y
        while any(abs(label_y - p.label_y) < NEAR and abs(mark.x.at - p.x.at) < NEAR for p in placed):
            label_y -= 2
        placed.append(Mark(mark.number, mark.model, mark.x, mark.y, round(label_y, 1)))
    return sorted(placed, key=lambda mark: mark.number)


def _dollar_ticks(x: _Scale, free_below: float, start: float) -> tuple[Tick, ...]:
    """Ticks at 1, 2 and 5 times the powers of ten, or at the powers only if these are many."""
    powers = range(math.floor(x.first), math.ceil(x.last) + 1)
    digits = (1, 2, 5) if x.last - x.first < 2 else (1,)
    values = [digit * 10.0**power for power in powers for digit in digits]
    ticks = [
        Tick(x(math.log10(value)), f"${value:g}")
        for value in values
        if x.first <= math.log10(value) <= x.last and value > free_below * 0.9
    ]
    return (Tick(x(math.log10(start)), "free"), *ticks) if free_below else tuple(ticks)


def _tenths(floor: float, ceiling: float) -> list[float]:
    first, last = round(10 * floor), round(10 * ceiling)
    step = 1 if last - first <= 5 else 2
    return [tenth / 10 for tenth in range(first, last + 1, step)]


@dataclass(frozen=True, slots=True)
class Row:
    """One model in the chart of a topic; quality None: it has no score there."""

    number: int
    model: str
    y: float
    figures: Figures
    quality: Span | None


@dataclass(frozen=True, slots=True)
class TopicChart:
    """The quality of each model on one topic."""

    topic: TopicReport
    width: int
    height: int
    left: int
    right: int
    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]


def topic_charts(topics: Sequence[TopicReport], numbers: dict[str, int]) -> tuple[TopicChart, ...]:
    width, left, right = 360, 172, 345
    x = _Scale(0.0, 1.0, left, right)
    return tuple(
        TopicChart(
            topic=topic,
            width=width,
            height=ROW * len(topic.models) + 30,
            left=left,
            right=right,
            rows=tuple(
                Row(
                    number=numbers[model],
                    model=model,
                    y=ROW * (i + 0.5) + 4,
                    figures=figures,
                    quality=None if figures.quality is None else x.span(figures.quality),
                )
                for i, (model, figures) in enumerate(topic.models.items())
            ),
            ticks=tuple(Tick(x(tick), f"{tick:g}") for tick in QUALITY_TICKS),
        )
        for topic in topics
    )
