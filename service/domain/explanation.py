"""A decision's explanation as JSON: how it is logged, and how clients see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import orjson

from service.domain.basics import Json
from service.domain.decision import Candidate, Decision
from service.domain.logged_neighbours import logged_neighbours, recalled_neighbours
from service.domain.tags import Tag

# Keys that version 0.1.0 logged, with their current names; in the explanation itself and in its parts.
_RENAMED = {
    "opinion_weights": "expert_weights",
    "difficulty": "ease",
    "neighbour_difficulties": "neighbour_ease",
    "session": "conversation",
}
_RENAMED_OF_CANDIDATE = {"standing": "prior_state"}
_RENAMED_OF_CONVERSATION = {
    "n_foreign": "n_messages_of_other_vendors",
    "held_arm_id": "previous_arm_id",
    "margin": "switch_margin",
    "cache_price": "cache_loss",
}
_SHOWN_TO_CLIENTS = {"arm_id": "model", "previous_arm_id": "previous_model"}


def explanation(decision: Decision) -> Json:
    """Everything that a decision was based on, as the journal logs it.

    Rejections and prior states stay dataclasses: orjson writes them itself.
    """
    return {
        "candidates": [_candidate(c) for c in decision.candidates],
        "rejected": decision.rejected,
        "n_rated": decision.n_rated,
        "expert_weights": decision.expert_weights,
        "prior_offset": decision.prior_offset,
        "ease": decision.ease,
        **logged_neighbours(decision.neighbours, decision.neighbour_ease),
        "draw": {"uniform": decision.uniform, "arm_id": decision.arm_id, "propensity": decision.propensity},
        "confidence": decision.confidence,
        "budget_price": decision.budget_price,
        "conversation": decision.step,
        "housekeeping": decision.query.turn.side_call is not None,
        "side_call": decision.query.turn.side_call,
        "own_weights": decision.query.options.own_weights,
        "substituted_model": decision.query.substituted_model,
        "overridden_by": decision.query.overridden_by,
        "cached": decision.cached,
    }


def in_current_words(logged: Json) -> Json:
    """Rename the keys of an explanation logged by any version to those of this version."""
    renamed = _renamed(logged, _RENAMED)
    renamed["candidates"] = [in_current_words_of_candidate(c) for c in renamed["candidates"]]
    if renamed.get("conversation"):
        renamed["conversation"] = in_current_words_of_conversation(renamed["conversation"])
    return renamed


def in_current_words_of_candidate(logged: Json) -> Json:
    """Rename the keys of one candidate of an explanation."""
    return _renamed(logged, _RENAMED_OF_CANDIDATE)


def in_current_words_of_conversation(logged: Json) -> Json:
    """Rename the keys of the conversation in an explanation, or in a spooled decision or outcome."""
    return _renamed(logged, _RENAMED_OF_CONVERSATION)


def explanation_for_clients(decision: Decision) -> Json:
    """Everything that a decision was based on, as `/v1/route` and `explain` show it."""
    logged: Json = orjson.loads(orjson.dumps(explanation(decision)))
    return {
        **for_clients(logged),
        "tags": tags_as_json(decision.tags),
        "rule": decision.rule,
        "tier": decision.tier,
    }


def tags_as_json(tags: Sequence[Tag]) -> list[Json]:
    """Tags as they are logged and shown."""
    return [
        {**asdict(tag), "cost_usd": None if tag.cost_usd is None else float(tag.cost_usd)} for tag in tags
    ]


def for_clients(explained: Json) -> Json:
    """A logged explanation as clients see it: an arm is a `model`, and the switching cost is one object."""
    conversation = explained.get("conversation")
    explained = _with_neighbours(explained)
    return {
        "side_call": None,  # older versions did not log what it was
        "substituted_model": None,
        "overridden_by": [],
        "prior_offset": 0.0,
        "cached": None,
        **explained,
        "candidates": [_renamed(c, _SHOWN_TO_CLIENTS) for c in explained["candidates"]],
        "rejected": [_renamed(r, _SHOWN_TO_CLIENTS) for r in explained["rejected"]],
        "neighbours": [_renamed(n, _SHOWN_TO_CLIENTS) for n in explained["neighbours"]],
        "draw": _renamed(explained["draw"], _SHOWN_TO_CLIENTS),
        "conversation": None if conversation is None else _conversation_for_clients(conversation),
    }


def _with_neighbours(explained: Json) -> Json:
    """The explanation with one object per neighbour."""
    neighbours, neighbour_ease = recalled_neighbours(explained)
    rows = [{**asdict(n), "decision_id": str(n.decision_id)} for n in neighbours]
    others = {key: value for key, value in explained.items() if key != "recalled"}
    return {**others, "neighbours": rows, "neighbour_ease": list(neighbour_ease)}


def _conversation_for_clients(conversation: Json) -> Json:
    shown = _renamed(conversation, _SHOWN_TO_CLIENTS)
    cost = {name: shown.pop(name) for name in ("switch_margin", "cache_loss")}
    return {**shown, "switching_cost": None if cost["switch_margin"] is None else cost}


def _renamed(data: Json, names: dict[str, str]) -> Json:
    return {names.get(key, key): value for key, value in data.items()}


def _candidate(c: Candidate) -> Json:
    return {
        "arm_id": c.arm_id,
        "probability": c.probability,
        "posterior": {
            "alpha": c.alpha,
            "beta": c.beta,
            "mean": c.alpha / (c.alpha + c.beta),
            "n_rated": c.prior_state.n_rated,
            "local_mass": c.local_mass,
        },
        "prior_state": c.prior_state,
        "predicted": c.predicted,
        "expected_latency_s": c.expected_latency_s,
        "expected_cost_usd": c.expected_cost_usd,
        "barred": c.is_barred,
        "utility": {
            "quality": c.quality,
            "bonus": c.bonus,
            "speed": c.speed,
            "cost": c.cost,
            "budget": c.budget,
            "total": c.utility,
        },
    }
