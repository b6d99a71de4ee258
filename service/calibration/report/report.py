"""The report of a calibration: how the models compare on its prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bandit.arrays import Vectors
from service.calibration.answers import GradedAnswer
from service.calibration.report.figures import Figures
from service.calibration.report.frontier import Domination, dominations
from service.calibration.report.intervals import effective_n
from service.calibration.report.routing import Routing, routing_of
from service.calibration.report.table import AnswerTable
from service.calibration.report.topics import Topics

LONGEST_EXAMPLE = 240


@dataclass(frozen=True, slots=True)
class ModelReport:
    """One model.

    Args:
        is_on_frontier: no other model is at least as good, costs no more and is better in one of them.
        dominated_by: the model that most surely is all that.
    """

    model: str
    figures: Figures
    is_on_frontier: bool
    dominated_by: Domination | None


@dataclass(frozen=True, slots=True)
class TopicReport:
    """One topic.

    Args:
        share: of the weight of all prompts.
        example: the beginning of one of its prompts.
        models: the figures by model, in the order of the report's models.
    """

    topic: str
    n_prompts: int
    share: float
    example: str
    models: Mapping[str, Figures]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why answers have no score.

    Args:
        n: answers of the model with this problem.
    """

    model: str
    problem: str
    n: int


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """How the models compare.

    Args:
        effective_prompts: how many prompts of equal weight tell as much.
        models: the best first, models without a score last.
        topics: the largest first.
        problems: the most frequent first.
        notes: what the report lacks, and why.
    """

    n_prompts: int
    effective_prompts: float
    models: tuple[ModelReport, ...]
    topics: tuple[TopicReport, ...]
    routing: Routing
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        answers: Sequence[GradedAnswer],
        contexts: Mapping[str, Vectors] | None = None,
        notes: tuple[str, ...] = (),
    ) -> CalibrationReport:
        """Compare the models by their graded answers; the same answers always give the same report.

        Args:
            answers: one of each model to each prompt; some may be missing.
            contexts: unit vectors of prompts by their keys, for neighbours, and for clusters of prompts
                without a task.

        Raises:
            ValueError: there is no answer, or a prompt's weight is not above 0.
        """
        table = AnswerTable.of(answers, contexts or {})
        topics = Topics.of(table.prompts, table.contexts)
        models = _models(table)
        return cls(
            n_prompts=len(table.prompts),
            effective_prompts=effective_n(table.weights),
            models=models,
            topics=_topics(table, topics, [model.model for model in models]),
            routing=routing_of(table, topics.member),
            problems=_problems(answers),
            notes=notes,
        )


def _models(table: AnswerTable) -> tuple[ModelReport, ...]:
    dominated = dominations(table)
    figures = {arm_id: Figures.of(table, arm) for arm, arm_id in enumerate(table.arm_ids)}
    ranked = sorted(figures, key=lambda arm_id: _rank(figures[arm_id]))
    return tuple(
        ModelReport(
            model=arm_id,
            figures=figures[arm_id],
            is_on_frontier=arm_id not in dominated and has_point(figures[arm_id]),
            dominated_by=dominated.get(arm_id),
        )
        for arm_id in ranked
    )


def has_point(figures: Figures) -> bool:
    """Whether quality and dollars are both known."""
    return figures.quality is not None and figures.cost_usd is not None


def _rank(figures: Figures) -> tuple[float, float]:
    quality = -1.0 if figures.quality is None else figures.quality.value
    return -quality, float("inf") if figures.cost_usd is None else figures.cost_usd.value


def _topics(table: AnswerTable, topics: Topics, order: Sequence[str]) -> tuple[TopicReport, ...]:
    reports = []
    for number, name in enumerate(topics.names):
        rows = topics.member == number
        first = int(rows.argmax())
        reports.append(
            TopicReport(
                topic=name,
                n_prompts=int(rows.sum()),
                share=float(table.weights[rows].sum() / table.weights.sum()),
                example=_beginning(table.prompts[first].text),
                models={arm_id: Figures.of(table, table.arm_ids.index(arm_id), rows) for arm_id in order},
            )
        )
    return tuple(reports)


def _beginning(text: str) -> str:
    """The first words on one line, without control characters, which terminals would obey."""
    start = text[: 4 * LONGEST_EXAMPLE]
    words = " ".join("".join(c if c.isprintable() else " " for c in start).split())
    return words if len(words) <= LONGEST_EXAMPLE else f"{words[:LONGEST_EXAMPLE]}…"


def _problems(answers: Sequence[GradedAnswer]) -> tuple[Problem, ...]:
    counts = Counter(
        (answer.arm_id, _beginning(answer.problem or "no reason given"))
        for answer in answers
        if answer.score is None
    )
    return tuple(Problem(arm_id, problem, n) for (arm_id, problem), n in counts.most_common())
