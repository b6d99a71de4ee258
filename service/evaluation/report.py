"""An evaluation as text and as JSON."""

from __future__ import annotations

from dataclasses import asdict

import orjson

from bandit.ope import Comparison, Estimate
from service.evaluation.evaluate import Evaluation, MeasureEstimate

ESTIMATORS = {"ips": "IPS", "snips": "SNIPS", "doubly_robust": "doubly robust"}
NAMES = {
    "reward": "reward",
    "cost_usd": "dollars per 1,000 requests",
    "latency_s": "seconds",
}
SCALES = {"reward": 1.0, "cost_usd": 1000.0, "latency_s": 1.0}


def as_json(evaluation: Evaluation) -> str:
    """All fields of the evaluation, with the ends of the intervals."""
    measures = {name: _measured(measured) for name, measured in evaluation.measures.items()}
    return orjson.dumps(asdict(evaluation) | {"measures": measures}, option=orjson.OPT_INDENT_2).decode()


def _measured(measured: MeasureEstimate) -> dict[str, object]:
    estimators = {
        name: {"candidate": _interval(by.candidate), "difference": _interval(by.difference)}
        for name, by in measured.by.items()
    }
    return {
        "n": measured.n,
        "lost": measured.lost,
        "effective_n": measured.effective_n,
        "logged": _interval(measured.logged),
        **estimators,
    }


def _interval(estimate: Estimate) -> dict[str, float]:
    return {
        "value": estimate.value,
        "standard_error": estimate.standard_error,
        "low": estimate.low,
        "high": estimate.high,
    }


def as_text(evaluation: Evaluation) -> str:
    """A table for each measure, or the reason of a refusal."""
    head = [f"{evaluation.since:%Y-%m-%d %H:%M} to {evaluation.until:%Y-%m-%d %H:%M} UTC"]
    if evaluation.refusal is not None:
        return "\n\n".join([*head, evaluation.refusal])
    head.append(f"{evaluation.n_rounds} decisions that the router made by itself")
    if evaluation.n_incomplete:
        head.append(
            f"{evaluation.n_incomplete} of them skipped: an early version logged too little to decide again"
        )
    tables = [_table(name, measured) for name, measured in evaluation.measures.items()]
    return "\n\n".join(["\n".join(head), *tables, _NOTES])


_NOTES = (
    "In brackets: 95 % intervals, for requests like these. Reward is over the rated decisions: which ones\n"
    "get rated must not depend on the arm. The candidate decides with the memory of the log: what it would\n"
    "have learned differently is not included."
)


def _table(name: str, measured: MeasureEstimate) -> str:
    scale = SCALES[name]
    rows = [
        f"{NAMES[name]}: {measured.n} decisions, effective sample size {measured.effective_n:.0f}, "
        f"{measured.lost:.2%} of choices without support",
        f"{'':15}{'candidate':>30}{'candidate - logged':>32}",
        f"{'as logged':15}{_shown(measured.logged, scale):>30}",
    ]
    return "\n".join([*rows, *(_row(label, measured.by[key], scale) for key, label in ESTIMATORS.items())])


def _row(label: str, by: Comparison, scale: float) -> str:
    return f"{label:15}{_shown(by.candidate, scale):>30}{_shown(by.difference, scale, '+'):>32}"


def _shown(estimate: Estimate, scale: float, sign: str = "") -> str:
    form = f"{sign}.4f"
    value, low, high = (format(scale * x, form) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"
