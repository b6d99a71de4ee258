"""A decision as JSON: what was weighed, for the journal, /v1/route and `explain`."""

from __future__ import annotations

from dataclasses import asdict

from service.types import Candidate, Decision, Json, Neighbour


def explanation(decision: Decision) -> Json:
    """Everything that was weighed for a decision; the shape that GET /requests/{request_id} shows."""
    return {
        "candidates": [_candidate(c) for c in decision.candidates],
        "rejected": [asdict(r) for r in decision.rejected],
        "neighbours": [_neighbour(n) for n in decision.neighbours],
        "draw": {"uniform": decision.uniform, "arm_id": decision.arm_id, "propensity": decision.propensity},
        "confidence": round(decision.confidence, 6),
        "budget_price": round(decision.budget_price, 6),
    }


def _candidate(c: Candidate) -> Json:
    return {
        "arm_id": c.arm_id,
        "probability": c.probability,  # exact: off-policy evaluation divides by it
        "posterior": {
            "alpha": round(c.alpha, 6),
            "beta": round(c.beta, 6),
            "mean": round(c.alpha / (c.alpha + c.beta), 6),
            "n_rated": c.n_rated,
            "local_mass": round(c.local_mass, 6),
        },
        "expected_latency_s": round(c.expected_latency_s, 6),
        "expected_cost_usd": round(c.expected_cost_usd, 9),
        "utility": {
            "quality": round(c.quality, 6),
            "bonus": round(c.bonus, 6),
            "speed": round(c.speed, 6),
            "cost": round(c.cost, 6),
            "budget": round(c.budget, 6),
            "total": round(c.utility, 6),
        },
    }


def _neighbour(n: Neighbour) -> Json:
    return {
        "decision_id": str(n.decision_id),
        "request_id": n.request_id,
        "arm_id": n.arm_id,
        "similarity": round(n.similarity, 4),
        "age_s": round(n.age_s, 1),
        "reward": n.reward,
        "weight": n.weight,
        "latency_s": round(n.latency_s, 4),
        "cost_usd": round(n.cost_usd, 9),
    }
