"""A decision's explanation as clients see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from service.domain.basics import Json
from service.domain.decision import Decision, Neighbour
from service.domain.logged_explanation import explanation
from service.domain.logged_neighbours import recalled_neighbours
from service.domain.logged_words import renamed
from service.domain.precision import shortest_magnitude
from service.domain.tags import Tag

_SHOWN_TO_CLIENTS = {"arm_id": "model", "previous_arm_id": "previous_model"}


def explanation_for_clients(decision: Decision) -> Json:
    """Everything that a decision was based on, as `/v1/route` and `explain` show it."""
    return {
        **for_clients(explanation(decision)),
        "tags": tags_as_json(decision.tags),
        "rule": decision.rule,
        "tier": decision.tier,
    }


def tags_as_json(tags: Sequence[Tag]) -> list[Json]:
    """Tags as they are logged and shown."""
    return [
        {
            "name": tag.name,
            "value": tag.value,
            "confidence": tag.confidence,
            "cost_usd": None if tag.cost_usd is None else float(tag.cost_usd),
            "source": tag.source,
        }
        for tag in tags
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
        "candidates": [renamed(c, _SHOWN_TO_CLIENTS) for c in explained["candidates"]],
        "rejected": [renamed(r, _SHOWN_TO_CLIENTS) for r in explained["rejected"]],
        "neighbours": [renamed(n, _SHOWN_TO_CLIENTS) for n in explained["neighbours"]],
        "draw": renamed(explained["draw"], _SHOWN_TO_CLIENTS),
        "conversation": None if conversation is None else _conversation_for_clients(conversation),
    }


def _with_neighbours(explained: Json) -> Json:
    """The explanation with one object per neighbour."""
    neighbours, neighbour_ease = recalled_neighbours(explained)
    rows = [_neighbour(n) for n in neighbours]
    others = {key: value for key, value in explained.items() if key != "recalled"}
    return {**others, "neighbours": rows, "neighbour_ease": list(neighbour_ease)}


def _neighbour(neighbour: Neighbour) -> Json:
    is_logged = neighbour.request_id != ""  # else only the beginning of its id is known
    row = {
        **asdict(neighbour),
        "decision_id": str(neighbour.decision_id) if is_logged else None,
        "request_id": neighbour.request_id or None,
    }
    for name in ("age_s", "latency_s", "cost_usd"):
        if row[name] is not None:
            row[name] = shortest_magnitude(row[name])
    return row


def _conversation_for_clients(conversation: Json) -> Json:
    shown = renamed(conversation, _SHOWN_TO_CLIENTS)
    cost = {name: shown.pop(name) for name in ("switch_margin", "cache_loss")}
    return {**shown, "switching_cost": None if cost["switch_margin"] is None else cost}
