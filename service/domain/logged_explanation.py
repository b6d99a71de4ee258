"""The explanation of a decision in the columns of its row, and read back from a row of any version."""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from operator import attrgetter
from typing import NamedTuple

import orjson

from service.domain.basics import Json
from service.domain.candidates import CandidateColumns
from service.domain.conversation import ConversationStep
from service.domain.decision import Candidate, Decision, LoggedPriorState
from service.domain.logged_neighbours import logged_neighbours
from service.domain.logged_words import in_current_words
from service.domain.neighbours import NeighbourColumns
from service.domain.packed_explanation import (
    NONE_RECALLED,
    SCALARS,
    Weighed,
    pack_recalled,
    pack_weighed,
    unpack_recalled,
    unpack_weighed,
)

_SCALARS = attrgetter(*SCALARS)
_FIELDS_OF_STEP = tuple(field.name for field in fields(ConversationStep))
_FIELDS_OF_PRIOR_STATE = tuple(field.name for field in fields(LoggedPriorState))
_USUAL_STEP = {"turn": 1, "n_messages_of_other_vendors": 0, "holdout": None} | {
    field.name: field.default for field in fields(ConversationStep) if field.default is not MISSING
}


class PackedExplanation(NamedTuple):
    """Everything that a decision was based on, in the columns of its row.

    Args:
        rest: what is seldom there, without the keys whose value is the usual one.
        weighed, recalled: as in `service.domain.packed_explanation`; recalled is None without neighbours.
    """

    rest: Json
    weighed: bytes
    recalled: bytes | None


def packed(decision: Decision) -> PackedExplanation:
    """The explanation as the journal logs it.

    Rejections stay dataclasses: orjson writes them itself.
    """
    candidates, rest = CandidateColumns.of(decision.candidates), _rest(decision)
    weighed = pack_weighed(Weighed(_SCALARS(decision), decision.expert_weights, candidates))
    if not decision.neighbours:
        return PackedExplanation(rest, weighed, None)
    neighbours, ease = NeighbourColumns.of(decision.neighbours), decision.neighbour_ease
    recalled = pack_recalled(neighbours, ease, candidates.arm_ids)
    if recalled is None:
        rest |= logged_neighbours(neighbours, ease)
    return PackedExplanation(rest, weighed, recalled)


def _rest(decision: Decision) -> Json:
    query, step = decision.query, decision.step
    # Replicas of versions up to 0.4 answer feedback on a decision only if it names its candidates.
    rest: Json = {"candidates": []}
    if decision.rejected:
        rest["rejected"] = decision.rejected
    if step is not None:
        rest["conversation"] = _unusual(step)
    if query.turn.side_call:
        rest["side_call"] = query.turn.side_call
    if query.options.own_weights:
        rest["own_weights"] = query.options.own_weights
    if query.substituted_model:
        rest["substituted_model"] = query.substituted_model
    if query.overridden_by:
        rest["overridden_by"] = query.overridden_by
    if decision.cached:
        rest["cached"] = decision.cached
    return rest


def _unusual(step: ConversationStep) -> Json:
    """The step without the fields that have their usual value; its vendor has none."""
    usual = _USUAL_STEP
    return {
        name: value for name in _FIELDS_OF_STEP if (value := getattr(step, name)) != usual.get(name, MISSING)
    }


def unpacked(logged: Json, weighed: bytes | None, recalled: bytes | None) -> Json:
    """The explanation of a row of any version, with the keys of this version.

    Args:
        logged: the row's JSON: all of the explanation if `weighed` is None, as versions up to 0.4 logged it.
    """
    if weighed is None:
        return in_current_words(logged)
    known = unpack_weighed(weighed)
    own = dict(zip(SCALARS, known.scalars, strict=True))
    conversation, side_call = logged.get("conversation"), logged.get("side_call")
    neighbours = logged.get("recalled", NONE_RECALLED)
    if recalled is not None:
        neighbours = unpack_recalled(recalled, known.candidates.arm_ids)
    return {
        "candidates": [_candidate(c) for c in known.candidates],
        "rejected": logged.get("rejected", []),
        "n_rated": own["n_rated"],
        "expert_weights": list(known.expert_weights),
        "prior_offset": own["prior_offset"],
        "ease": own["ease"],
        "recalled": neighbours,
        "draw": {"uniform": own["uniform"]},
        "confidence": own["confidence"],
        "budget_price": own["budget_price"],
        "conversation": None if conversation is None else {**_USUAL_STEP, **conversation},
        "housekeeping": side_call is not None,
        "side_call": side_call,
        "own_weights": logged.get("own_weights", {}),
        "substituted_model": logged.get("substituted_model"),
        "overridden_by": logged.get("overridden_by", []),
        "cached": logged.get("cached"),
    }


def with_draw(explained: Json, arm_id: str, propensity: float) -> Json:
    """The explanation with the drawn arm, which a row has in columns of its own."""
    draw = {"uniform": explained["draw"]["uniform"], "arm_id": arm_id, "propensity": propensity}
    return {**explained, "draw": draw}


def explanation(decision: Decision) -> Json:
    """Everything that a decision was based on, as it is read back from the log."""
    row = packed(decision)
    rest: Json = orjson.loads(orjson.dumps(row.rest))
    logged = with_draw(unpacked(rest, row.weighed, row.recalled), decision.arm_id, decision.propensity)
    if row.recalled is not None:  # it has only the beginnings of their ids
        points = NeighbourColumns.of(decision.neighbours).points
        found = logged["recalled"]
        logged["recalled"] = replace(found, columns=replace(found.columns, points=points))
    return logged


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
        "prior_state": {name: getattr(c.prior_state, name) for name in _FIELDS_OF_PRIOR_STATE},
        "predicted": list(c.predicted),
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
