"""Decisions and outcomes as lines of JSON, for the spool.

A line has everything that the journal writes. It omits what the journal does not write: the body of the
query and the texts of query and answer, unless texts are stored. It ends with a checksum, which tells a line
that the disk has damaged; lines up to version 0.5 have none.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import numpy as np
import orjson

from service.domain.answer import Attempt, Outcome, Usage
from service.domain.basics import Json
from service.domain.cached_answer import CacheMatch
from service.domain.conversation import ConversationState, ConversationStep, Place
from service.domain.decision import Candidate, Decision, LoggedPriorState, Rejection
from service.domain.logged_neighbours import logged_neighbours, recalled_neighbours
from service.domain.logged_words import in_current_words, in_current_words_of_conversation
from service.domain.query import Options, Query, Turn
from service.domain.tags import Tag
from service.store.connection.values import from_bytes, to_bytes
from service.store.log.request_bodies import body_to_store


@dataclass(frozen=True, slots=True)
class CompletedRun:
    """An outcome with the attempts that led to it."""

    outcome: Outcome
    attempts: tuple[Attempt, ...]


Entry = Decision | CompletedRun

_CHECKSUM = re.compile(rb',"crc32":"([0-9a-f]{8})"\}\n?\Z')


def encode(entry: Entry, *, store_texts: bool) -> bytes:
    """One line with its newline."""
    if isinstance(entry, Decision):
        n_chars = len(entry.query.text)
        text = entry.query.text if store_texts else ""
        is_kept = store_texts and body_to_store(entry.query) is not None
        query = replace(entry.query, body=entry.query.body if is_kept else {}, text=text, native=None)
        bare = replace(
            entry, query=query, candidates=tuple(entry.candidates), neighbours=(), neighbour_ease=()
        )
        recalled = logged_neighbours(entry.neighbours, entry.neighbour_ease)["recalled"]
        return _line({"kind": "decision", "n_chars": n_chars, "recalled": recalled, "decision": bare})
    answer_text = entry.outcome.answer_text if store_texts else None
    outcome = replace(entry.outcome, answer_text=answer_text)
    return _line({"kind": "outcome", "outcome": outcome, "attempts": entry.attempts})


def decode(line: bytes) -> Entry:
    """The entry of one line. Raises ValueError if the line is damaged.

    An omitted text becomes blanks of the same length.
    """
    sealed = _CHECKSUM.search(line)
    if sealed is not None and int(sealed[1], 16) != zlib.crc32(line[: sealed.start()]):
        raise ValueError("the line is damaged: its checksum is another")
    try:
        return _entry(orjson.loads(line))
    except (AttributeError, ArithmeticError, LookupError, TypeError) as error:
        raise ValueError(f"the line is damaged: {error!r}") from error


def _entry(data: Json) -> Entry:
    if data["kind"] == "decision":
        return _decision(data["decision"], data["n_chars"], data.get("recalled"))
    return CompletedRun(_outcome(data["outcome"]), tuple(_attempt(a) for a in data["attempts"]))


def _line(data: Json) -> bytes:
    body = orjson.dumps(data, default=_plain, option=orjson.OPT_NON_STR_KEYS)[:-1]
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


def _plain(value: object) -> str | Sequence[str]:
    if isinstance(value, Decimal | UUID):  # a UUID of asyncpg's own class
        return str(value)
    if isinstance(value, bytes):
        return b64encode(value).decode("ascii")
    if isinstance(value, np.ndarray):
        return b64encode(to_bytes(value)).decode("ascii")
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"cannot spool a {type(value).__name__}")


def _decision(data: Json, n_chars: int, recalled: Json | None) -> Decision:
    data = in_current_words(data)
    neighbours, neighbour_ease = recalled_neighbours({**data, "recalled": recalled})
    conversation = data.pop("conversation", None)  # in lines of version 0.1.0
    step = data.pop("step", None) or conversation
    return Decision(
        **{
            **data,
            "decision_id": UUID(data["decision_id"]),
            "query": _query(data["query"], n_chars),
            "candidates": tuple(_candidate(c) for c in data["candidates"]),
            "rejected": tuple(Rejection(**r) for r in data["rejected"]),
            "neighbours": tuple(neighbours),
            "context": None if data["context"] is None else from_bytes(b64decode(data["context"])),
            "expert_weights": tuple(data["expert_weights"]),
            "ease": data.get("ease", 0.0),
            "neighbour_ease": neighbour_ease,
            "degraded": tuple(data["degraded"]),
            "decided_at": datetime.fromisoformat(data["decided_at"]),
            "step": None if step is None else ConversationStep(**step),
            "cached": None if data.get("cached") is None else CacheMatch(**data["cached"]),
            "tags": tuple(_tag(tag) for tag in data.get("tags", ())),
        }
    )


def _candidate(data: Json) -> Candidate:
    return Candidate(
        **{
            **data,
            "prior_state": LoggedPriorState(**data["prior_state"]),
            "predicted": tuple(data["predicted"]),
        }
    )


def _tag(data: Json) -> Tag:
    return Tag(**{**data, "cost_usd": _decimal(data["cost_usd"])})


def _query(data: Json, n_chars: int) -> Query:
    among = data.get("requested_among")
    return Query(
        **{
            **data,
            "text": data["text"].ljust(n_chars),
            "body_digest": b64decode(data["body_digest"]),
            "options": _options(data["options"]),
            "received_at": datetime.fromisoformat(data["received_at"]),
            "turn": _turn(data.get("turn", {})),
            "requested_among": None if among is None else frozenset(among),
            "overridden_by": tuple(data.get("overridden_by", ())),
        }
    )


def _turn(data: Json) -> Turn:
    data.pop("continues", None)  # in lines of version 0.2, as the next
    if data.pop("is_housekeeping", False):
        data["side_call"] = "title"
    place = data.get("place")
    return Turn(
        **{
            **data,
            "key": _bytes(data.get("key")),
            "place": None if place is None else Place(**{n: b64decode(d) for n, d in place.items()}),
            "answered": tuple(map(b64decode, data.get("answered", ()))),
        }
    )


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


def _options(data: Json) -> Options:
    models, max_cost_usd = data["models"], data["max_cost_usd"]
    return Options(
        **{
            **data,
            "models": None if models is None else frozenset(models),
            "exclude": frozenset(data.get("exclude", ())),
            "require_data_use": frozenset(data.get("require_data_use", ())),
            "max_cost_usd": None if max_cost_usd is None else Decimal(max_cost_usd),
        }
    )


def _attempt(data: Json) -> Attempt:
    return Attempt(
        **{
            **data,
            "attempt_id": UUID(data["attempt_id"]),
            "decision_id": UUID(data["decision_id"]),
            "started_at": datetime.fromisoformat(data["started_at"]),
            "usage": _usage(data["usage"]),
            "cost_usd": _decimal(data["cost_usd"]),
            "notes": tuple(data.get("notes", ())),
        }
    )


def _usage(data: Json) -> Usage:
    return Usage(**{**data, "stated_cost_usd": _decimal(data.get("stated_cost_usd"))})


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _outcome(data: Json) -> Outcome:
    conversation = data.pop("pin", None) or data.get("conversation")  # `pin` in lines of version 0.1.0
    return Outcome(
        **{
            **data,
            "decision_id": UUID(data["decision_id"]),
            "usage": _usage(data["usage"]),
            "cost_usd": _decimal(data["cost_usd"]),
            "call_cost_usd": _decimal(data["call_cost_usd" if "call_cost_usd" in data else "cost_usd"]),
            "answer_digest": _bytes(data["answer_digest"]),
            "answer_names": tuple(map(b64decode, data.get("answer_names", ()))),
            "completed_at": datetime.fromisoformat(data["completed_at"]),
            "conversation": None if conversation is None else _conversation(conversation),
        }
    )


def _conversation(data: Json) -> ConversationState:
    return ConversationState(
        **{
            **in_current_words_of_conversation(data),
            "decision_id": UUID(data["decision_id"]),
            "updated_at": datetime.fromisoformat(data["updated_at"]),
        }
    )
