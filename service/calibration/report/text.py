"""The report as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

from service.calibration.report.figures import Figures
from service.calibration.report.report import CalibrationReport, TopicReport
from service.calibration.report.routing import Comparison, Routing
from service.calibration.report.sentences import (
    METHODS,
    amount,
    counted,
    quality,
    seconds,
    share,
    summary,
    usd,
    verdict_on,
)

SHOWN_MODELS = 5  # of each topic
SHOWN_PROBLEMS = 10
WIDTH = 110
HEADINGS = ("quality", "$ per 1,000", "seconds")


def as_text(report: CalibrationReport) -> str:
    """The findings, a table of the models, one of each topic, and what routing could save."""
    parts = [
        f"{counted(report.n_prompts, 'prompt')}{_worth(report)}, {counted(len(report.models), 'model')}",
        "\n".join(_wrapped(f"- {finding}") for finding in summary(report)),
        _models(report),
        *(_topic(topic) for topic in report.topics if len(report.topics) > 1),
        *_routing(report.routing),
        *_problems(report),
        "\n".join(map(_wrapped, METHODS)),
    ]
    return _printable("\n\n".join(parts))


def _worth(report: CalibrationReport) -> str:
    """How many prompts of equal weight they are worth, if that is fewer."""
    worth = round(report.effective_prompts)
    return "" if worth == report.n_prompts else f" of different weight, worth {worth} of equal weight"


def _models(report: CalibrationReport) -> str:
    rows = [
        (
            model.model,
            *_figures(model.figures),
            str(model.figures.n_scored),
            str(model.figures.n_unscored),
            verdict_on(model),
        )
        for model in report.models
    ]
    return _table(("model", *HEADINGS, "scored", "not", "beside the others"), rows)


def _topic(topic: TopicReport) -> str:
    ranked = sorted(topic.models.items(), key=lambda item: _negative_quality(item[1]))
    rows = [(model, *_figures(figures), str(figures.n_scored)) for model, figures in ranked[:SHOWN_MODELS]]
    n_prompts = counted(topic.n_prompts, "prompt")
    title = f"topic {topic.topic}: {n_prompts}, {share(topic.share)} of the weight"
    more = len(ranked) - len(rows)
    lines = [title, _table(("model", *HEADINGS, "scored"), rows)]
    return "\n".join([*lines, *([f"and {counted(more, 'more model')}"] if more > 0 else [])])


def _figures(figures: Figures) -> tuple[str, str, str]:
    return quality(figures.quality), usd(figures.cost_usd), seconds(figures.latency_s)


def _negative_quality(figures: Figures) -> float:
    return 1.0 if figures.quality is None else -figures.quality.value


def _routing(routing: Routing) -> list[str]:
    left_out = [
        f"left out of the comparison: {model}: {reason}" for model, reason in routing.left_out.items()
    ]
    compared = (routing.equal_quality, routing.equal_dollars)
    if compared[0] is None or compared[1] is None:
        return ["\n".join(left_out)] if left_out else []
    rows = [
        _means("best single model", compared[0], routing.single, of_single=True),
        _means("routing at equal quality", compared[0], compared[0].shares),
        _means("routing at equal dollars", compared[1], compared[1].shares),
    ]
    title = f"routing, cross-fitted on {routing.n_prompts} prompts"
    table = _table(("", "quality", "$ per 1,000", "seconds", "models"), rows)
    return ["\n".join([title, table, *left_out])]


def _means(
    name: str, compared: Comparison, shares: Mapping[str, float], *, of_single: bool = False
) -> tuple[str, ...]:
    means = compared.single if of_single else compared.routing
    models = ", ".join(f"{model} {share(part)}" for model, part in shares.items())
    return (
        name,
        f"{means.quality:.3f}",
        amount(1000 * means.cost_usd),
        amount(means.latency_s),
        models,
    )


def _problems(report: CalibrationReport) -> list[str]:
    lines = [f"{p.n} without a score: {p.model}: {p.problem}" for p in report.problems[:SHOWN_PROBLEMS]]
    more = len(report.problems) - len(lines)
    return (
        ["\n".join([*lines, *([f"and {counted(more, 'more problem')}"] if more > 0 else [])])]
        if lines
        else []
    )


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns: the first and the last to the left, unless the last is a number."""
    lines = [headings, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(headings))]
    is_left = [i == 0 or headings[i] in ("models", "beside the others") for i in range(len(headings))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(line, widths, is_left, strict=True)
        ).rstrip()
        for line in lines
    )


def _wrapped(sentence: str) -> str:
    return "\n".join(
        textwrap.wrap(sentence, WIDTH, subsequent_indent="  " if sentence.startswith("-") else "")
    )


def _printable(text: str) -> str:
    """Without control characters in the names of models and tasks, which a terminal would obey."""
    return "".join(c if c == "\n" or c.isprintable() else " " for c in text)
