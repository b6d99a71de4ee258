"""The sentences about a decision."""

from __future__ import annotations

import pytest

from service.domain.basics import Json
from service.mcp_server.reasons import reasons


def candidate(model: str, probability: float, total: float) -> Json:
    utility = {"quality": total, "bonus": 0.0, "speed": 0.0, "cost": 0.0, "budget": 0.0, "total": total}
    return {
        "model": model,
        "probability": probability,
        "posterior": {"mean": 0.8, "n_rated": 12.0},
        "utility": utility,
    }


def preview(decision: str = "exploit", **more: object) -> Json:
    weighed = [candidate("a", 0.75, 0.5), candidate("b", 0.25, 0.25)]
    return {"model": "a", "decision": decision, "propensity": 0.75, "candidates": weighed, **more}


def record(decision: str, answered: str, model: str, **more: object) -> Json:
    outcome = {"decision": answered, "status": "ok", "latency_s": 1.25, "cost_usd": 0.5}
    made = {"chosen_model": "a", "model": model, "outcome": outcome, "reward": None}
    return preview(decision) | made | more


def test_a_preview_says_how_the_model_was_drawn_and_what_else_was_weighed() -> None:
    said = reasons(preview())

    assert said[0].startswith("a has the best expected utility of the 2 models that could answer")
    assert "12 ratings of its own" in said[1]
    assert said[2] == "Next best is b, with a utility of 0.250 and a probability of 25.0%."
    assert len(said) == 3


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (preview("explore") | {"model": "b"}, "with a probability of 75.0%, to learn more about it. a has"),
        (preview("pinned"), "The request names a."),
        (preview("default", confidence=0.31), "in the best model is low (0.31), so the default model, a,"),
        (preview("default", holdout=True), "held out to measure savings"),
        (preview("default", side_call="follow_ups"), "The client sent the request for itself (follow ups)"),
        (preview("of the future"), "a was drawn among 2 models"),
        (preview("sticky", conversation={"turn": 3}), "The conversation stays on a (turn 3)."),
        (
            preview(
                "sticky",
                conversation={
                    "turn": 2,
                    "gain": 0.01,
                    "switching_cost": {"switch_margin": 0.05, "cache_loss": 0.02},
                },
            ),
            "another model would gain 0.010 of utility, and switching costs 0.070.",
        ),
        (preview(substituted_model="gpt-9"), "No model is called gpt-9"),
        (
            preview(rule="errors", tier="complex", tags=[{"name": "intent", "value": "error"}]),
            "Policies: rule errors; tier complex; tagged intent error.",
        ),
        (preview(degraded=["memory", "encoder"]), "The router decided without: memory, encoder."),
        (
            preview(rejected=[{"model": f"m{n}", "reason": "too small"} for n in range(7)]),
            "m4: too small; and 2 more.",
        ),
        (record("exploit", "fallback", "b"), "a could not answer, so b answered in its place."),
        (record("exploit", "escalated", "b"), "The answer of a fell short, so b answered in its place."),
        (record("exploit", "cache", "b"), "this is the cached answer of b."),
        (
            record("exploit", "exploit", "a"),
            "The answer (ok) took 1.25 s and cost $0.500000. Nobody has rated it.",
        ),
        (record("exploit", "exploit", "a", reward=0.5), "Its rating counts as a reward of 0.50."),
        (
            record(
                "exploit",
                "exploit",
                "a",
                attempts=[{"model": "a", "status": "failed", "error_type": "timeout"}],
            ),
            "Calls that gave no answer: a (timeout).",
        ),
        (
            record("pinned", "pinned", "a", candidates=[], outcome=None),
            "The request names a. Nobody has rated it.",
        ),
    ],
)
def test_each_fact_has_its_sentence(given: Json, sentence: str) -> None:
    assert sentence in " ".join(reasons(given))
