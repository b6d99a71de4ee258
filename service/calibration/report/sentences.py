"""What a report says in words, in every form of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

from service.calibration.report.intervals import Interval
from service.calibration.report.report import CalibrationReport, ModelReport
from service.calibration.report.routing import LEAST_ANSWERED, MARGIN, Comparison, Routing

SURE = 0.95  # confidence from which on a model is called dominated
CERTAIN = 0.99  # above it no figure is given
MOST_NAMED = 3  # models in a sentence
METHODS = (
    "In brackets: 95 % intervals for prompts like these; prompts count by their weights.",
    "Quality: Wilson's interval, with the variance of the scores. Dollars and seconds: Student's interval of "
    "the logarithm, a little narrow where a few answers cost much more than the others.",
    "Dominated: another model is at least as good and costs no more, on the prompts that both answered.",
    "Routing: the router's own learner, taught with all answers to nine tenths of the prompts, chooses "
    "models for the last tenth, and so for each tenth. The best single model is the cheapest of those that "
    "are not clearly below the best. It and the price of dollars are chosen without that tenth, too. The "
    "intervals are a paired bootstrap over prompts; that of the saving at equal quality, and of the gain at "
    "equal dollars, is at least as wide as what halves of the prompts teach differs.",
)


def summary(report: CalibrationReport) -> tuple[str, ...]:
    """The findings: the best models, and what routing could save or gain."""
    return (*report.notes, *_best_models(report), *routing_findings(report.routing))


def _best_models(report: CalibrationReport) -> list[str]:
    scored = [model for model in report.models if model.figures.quality is not None]
    if not scored:
        return ["No answer has a score."]
    # Few scores may be those of easy prompts.
    enough = LEAST_ANSWERED * max(model.figures.n_scored for model in scored)
    best = next(model for model in scored if model.figures.n_scored >= enough)
    found = [f"Best quality: {best.model}, {quality(best.figures.quality)}{_scored(best)}."]
    frontier = [model.model for model in report.models if model.is_on_frontier]
    if len(report.models) > 1 and frontier:
        found.append(f"On the frontier of quality and dollars: {', '.join(frontier)}.")
    dominated = [m.model for m in report.models if m.dominated_by and m.dominated_by.confidence >= SURE]
    if dominated:
        found.append(f"Dominated, with {share(SURE)} confidence: {', '.join(dominated)}.")
    return found


def _scored(model: ModelReport) -> str:
    """How many of the prompts have a score, if not all."""
    n, n_missing = model.figures.n_scored, model.figures.n_unscored
    return f", on {n} of {n + n_missing} prompts" if n_missing else ""


def routing_findings(routing: Routing) -> list[str]:
    """One sentence or two for each comparison, or why there is none."""
    if routing.equal_quality is None or routing.equal_dollars is None:
        return [routing.refusal or ""]
    single = f"always {best_single(routing.single)}"
    return [_saving(routing.equal_quality, single), _gain(routing.equal_dollars, single)]


def best_single(single: Mapping[str, float]) -> str:
    """The model, or the models if the folds differ."""
    names = list(single)
    if len(names) == 1:
        return names[0]
    named = ", ".join(f"{name} for {share(single[name])}" for name in names[:MOST_NAMED])
    return f"the best single model ({named}{', …' if len(names) > MOST_NAMED else ''})"


def _saving(compared: Comparison, single: str) -> str:
    figures = f"{_dollars_saved(compared)}, quality {points(compared.quality_gain)}, compared with {single}"
    if compared.verdict == "yes":
        return f"At equal quality routing saves dollars: {figures}."
    if compared.verdict == "no":
        if compared.quality_gain.high < 0:
            return f"Routing saves dollars only at a loss of quality: {figures}."
        return f"At equal quality routing saves little or nothing: {figures}."
    if compared.saving is not None and compared.saving.low > 0:
        doubt = f"a loss of {100 * MARGIN:.0f} points of quality cannot be excluded"
        return f"Routing saves dollars, but {doubt}: {figures}.{_needed(compared)}"
    claim = "These prompts cannot tell whether routing saves dollars at equal quality"
    return f"{claim}, within {100 * MARGIN:.0f} points: {figures}.{_needed(compared)}"


def _gain(compared: Comparison, single: str) -> str:
    figures = f"{points(compared.quality_gain)}, {_dollars_saved(compared)}, compared with {single}"
    if compared.verdict == "yes":
        return f"At equal dollars routing gains quality: {figures}."
    if compared.verdict == "no":
        if compared.saving is not None and compared.saving.high < 0:
            return f"Routing gains quality only for more dollars: {figures}."
        return f"At equal dollars routing gains little or nothing: {figures}."
    claim = "These prompts cannot tell whether routing gains quality at equal dollars"
    return f"{claim}: {figures}.{_needed(compared)}"


def _needed(compared: Comparison) -> str:
    return "" if compared.prompts_needed is None else f" About {compared.prompts_needed:,} prompts could."


def _dollars_saved(compared: Comparison) -> str:
    saving = compared.saving
    if saving is None:
        return "the single model costs nothing"
    low, high = f"{100 * saving.low:.0f}", f"{100 * saving.high:.0f}"
    return f"{100 * saving.value:.0f} % of the dollars saved [{low}, {high}]"


def verdict_on(model: ModelReport) -> str:
    """How a model stands beside the others."""
    by = model.dominated_by
    if by is not None:
        sure = f"over {share(CERTAIN)}" if by.confidence > CERTAIN else share(by.confidence)
        return f"dominated by {by.arm_id} ({sure} sure)"
    return "on the frontier" if model.is_on_frontier else "not comparable"


def counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def quality(interval: Interval | None) -> str:
    return "-" if interval is None else _shown(interval, 1.0, ".3f")


def points(interval: Interval) -> str:
    """A difference of quality, in hundredths."""
    return f"{_shown(interval, 100.0, '+.1f')} points"


def usd(interval: Interval | None) -> str:
    """Dollars of 1,000 answers."""
    return "-" if interval is None else _shown(interval, 1000.0, "")


def seconds(interval: Interval | None) -> str:
    return "-" if interval is None else _shown(interval, 1.0, "")


def share(value: float) -> str:
    return f"{100 * value:.0f} %"


def amount(value: float) -> str:
    """A number with three significant digits, without an exponent."""
    if value == 0 or abs(value) >= 100:
        return "∞" if math.isinf(value) else f"{value:,.0f}"
    return f"{Decimal(f'{value:#.3g}'):f}"


def _shown(interval: Interval, scale: float, form: str) -> str:
    value, low, high = (
        format(scale * x, form) if form else amount(scale * x)
        for x in (interval.value, interval.low, interval.high)
    )
    return f"{value} [{low}, {high}]"
