"""The report as JSON; docs/calibration-report.md lists the fields, and report.schema.json describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from service.calibration.report.figures import Figures
from service.calibration.report.frontier import Domination
from service.calibration.report.intervals import CONFIDENCE, Interval
from service.calibration.report.report import CalibrationReport
from service.calibration.report.routing import Comparison, Means, Routing
from service.calibration.report.sentences import summary
from service.domain.basics import Json

VERSION = 1  # grows when a field changes its meaning or goes; new fields may come at any time


def as_json(report: CalibrationReport) -> str:
    """The report; text that no encoding has, such as half a surrogate pair, is replaced."""
    return json.dumps(to_json(report), indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()


def to_json(report: CalibrationReport) -> Json:
    """The report as values that JSON has."""
    return {
        "version": VERSION,
        "confidence": CONFIDENCE,
        "summary": list(summary(report)),
        "notes": list(report.notes),
        "n_prompts": report.n_prompts,
        "effective_prompts": report.effective_prompts,
        "models": [
            {
                "model": model.model,
                **_figures(model.figures),
                "is_on_frontier": model.is_on_frontier,
                "dominated_by": _domination(model.dominated_by),
            }
            for model in report.models
        ],
        "topics": [
            {
                "topic": topic.topic,
                "n_prompts": topic.n_prompts,
                "share": topic.share,
                "example": topic.example,
                "models": [{"model": name, **_figures(figures)} for name, figures in topic.models.items()],
            }
            for topic in report.topics
        ],
        "routing": _routing(report.routing),
        "problems": [{"model": p.model, "problem": p.problem, "n": p.n} for p in report.problems],
    }


def _figures(figures: Figures) -> Json:
    return {
        "n_scored": figures.n_scored,
        "n_unscored": figures.n_unscored,
        "n_unpriced": figures.n_unpriced,
        "quality": _interval(figures.quality),
        "cost_usd": _interval(figures.cost_usd),
        "latency_s": _interval(figures.latency_s),
    }


def _interval(interval: Interval | None) -> Json | None:
    """An interval; JSON has no infinity, so an end without a bound is null."""
    if interval is None:
        return None
    high = None if math.isinf(interval.high) else interval.high
    return {"value": interval.value, "low": interval.low, "high": high}


def _domination(by: Domination | None) -> Json | None:
    return (
        None if by is None else {"model": by.arm_id, "confidence": by.confidence, "n_prompts": by.n_prompts}
    )


def _routing(routing: Routing) -> Json:
    return {
        "n_prompts": routing.n_prompts,
        "models": list(routing.arm_ids),
        "left_out": dict(routing.left_out),
        "best_single": dict(routing.single),
        "refusal": routing.refusal,
        "equal_quality": _comparison(routing.equal_quality),
        "equal_dollars": _comparison(routing.equal_dollars),
    }


def _comparison(compared: Comparison | None) -> Json | None:
    if compared is None:
        return None
    return {
        "verdict": compared.verdict,
        "saving": _interval(compared.saving),
        "quality_gain": _interval(compared.quality_gain),
        "routing": _means(compared.routing, compared.shares),
        "single": _means(compared.single, None),
        "prompts_needed": compared.prompts_needed,
    }


def _means(means: Means, shares: Mapping[str, float] | None) -> Json:
    found: Json = {"quality": means.quality, "cost_usd": means.cost_usd, "latency_s": means.latency_s}
    return found if shares is None else {**found, "shares": dict(shares)}
