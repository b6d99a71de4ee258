"""Chooses prompts from the router's own log, a few that stand for all of its traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import numpy as np

from embeddings.encoder import TextEncoder
from service.calibration.clusters import Floats, Points
from service.calibration.grading.grader import Grader
from service.calibration.prompts import CalibrationPrompt, prompt_key
from service.domain.basics import Json
from service.domain.logged_request import LoggedRequest
from service.errors import BadRequest

MAX_REQUESTS = 3_000  # the newest of the range that are clustered
RETRY_WINDOW_S = 120.0  # the same body again within this time is a retry
SEED = 0
SETTING = "STORE_TEXTS"

# What a request says about its transport and its caller, not about its answer.
NOT_ABOUT_THE_ANSWER = frozenset(
    {
        "metadata",
        "model",
        "n",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "user",
    }
)


class RequestBodies(Protocol):
    """The stored bodies of users' requests. Raises StoreUnavailable."""

    async def newest(
        self, tenant: str, since: datetime, until: datetime, limit: int
    ) -> Sequence[LoggedRequest]: ...

    async def bodies(self, tenant: str, decision_ids: Sequence[UUID]) -> Mapping[UUID, Json]: ...


@dataclass(frozen=True, slots=True)
class LogSampler:
    """Chooses prompts from a tenant's log.

    Args:
        stores_texts: whether the router stores texts now; it explains why there are none.
    """

    bodies: RequestBodies
    encoder: TextEncoder
    stores_texts: bool

    async def sample(
        self, tenant: str, since: datetime, until: datetime, n: int, seed: int = SEED
    ) -> list[CalibrationPrompt]:
        """At most n prompts that cover the newest requests, the most frequent kind first.

        The contexts of the requests are clustered. Each prompt is the request nearest to the centre of a
        cluster, and its weight is the cluster's share of the requests; the weights add up to 1.

        Raises:
            BadRequest: no request of the range has a stored body.
            StoreUnavailable: PostgreSQL does not answer.
            EncoderError: a request has no context of this encoder, and cannot be encoded.
        """
        requests = without_retries(await self.bodies.newest(tenant, since, until, MAX_REQUESTS))
        prompts = await self._prompts(tenant, requests, n, seed) if requests else []
        if not prompts:
            raise BadRequest(_why_none(tenant, since, until, self.stores_texts), param="from_log")
        return prompts

    async def _prompts(
        self, tenant: str, requests: Sequence[LoggedRequest], n: int, seed: int
    ) -> list[CalibrationPrompt]:
        contexts = await self._contexts(requests)
        chosen = await asyncio.to_thread(representatives, contexts, n, np.random.default_rng(seed))
        bodies = await self.bodies.bodies(tenant, [requests[i].decision_id for i, _ in chosen])
        prompts = [
            _prompt(requests[i], bodies[requests[i].decision_id], weight)
            for i, weight in chosen
            if requests[i].decision_id in bodies  # it may have been pruned meanwhile
        ]
        return await asyncio.to_thread(_merged_of_valid, prompts)

    async def _contexts(self, requests: Sequence[LoggedRequest]) -> Floats:
        """The contexts of the requests; those of another encoder are encoded again."""
        return np.array([await self._context(request) for request in requests], dtype=np.float64)

    async def _context(self, request: LoggedRequest) -> Floats:
        if request.context is not None and request.encoder == self.encoder.name:
            return request.context.astype(np.float64)
        return (await self.encoder.encode(request.text)).astype(np.float64)


def gradable(prompts: Sequence[CalibrationPrompt], grader: Grader) -> list[CalibrationPrompt]:
    """The prompts of a log that the grader can grade, with weights that add up to 1.

    Raises:
        BadRequest: it can grade none of them.
    """
    reasons = [grader.reason_against(prompt) for prompt in prompts]
    found = [prompt for prompt, reason in zip(prompts, reasons, strict=True) if reason is None]
    if not found:
        raise BadRequest(f"grader: cannot grade requests of the log: {reasons[0]}", param="grader")
    return _merged(found)


def without_retries(requests: Sequence[LoggedRequest]) -> list[LoggedRequest]:
    """The requests without those that a client sent again soon after.

    Args:
        requests: the newest first.
    """
    kept: list[LoggedRequest] = []
    seen: dict[bytes, datetime] = {}
    for request in requests:
        later = seen.get(request.body_digest)
        if later is None or (later - request.decided_at).total_seconds() > RETRY_WINDOW_S:
            seen[request.body_digest] = request.decided_at
            kept.append(request)
    return kept


def representatives(contexts: Floats, n: int, rng: np.random.Generator) -> list[tuple[int, float]]:
    """At most n positions of contexts that stand for all, each with the share it stands for.

    Equal contexts are one point with its count. The largest share comes first.

    Args:
        contexts: shape (n_requests, d), at least one.
    """
    _, firsts, counts = np.unique(contexts, axis=0, return_index=True, return_counts=True)
    k = min(n, len(firsts))
    distances, members = Points(contexts[firsts], counts).clusters(k, rng)
    chosen = []
    for cluster in range(k):
        own = np.flatnonzero(members == cluster)
        if own.size:
            nearest = own[distances[own].argmin()]
            chosen.append((int(firsts[nearest]), float(counts[own].sum() / len(contexts))))
    return sorted(chosen, key=lambda pair: (-pair[1], pair[0]))


def _prompt(request: LoggedRequest, stored: Json, weight: float) -> CalibrationPrompt:
    body = {name: value for name, value in stored.items() if name not in NOT_ABOUT_THE_ANSWER}
    key = prompt_key(body, task=request.task)
    return CalibrationPrompt(key=key, body=body, text=request.text, task=request.task, weight=weight)


def _merged_of_valid(prompts: Sequence[CalibrationPrompt]) -> list[CalibrationPrompt]:
    return _merged([prompt for prompt in prompts if _is_valid(prompt)])


def _is_valid(prompt: CalibrationPrompt) -> bool:
    """Whether the router would accept it now; it has accepted it, perhaps in an older version."""
    try:
        return bool(prompt.query.body)
    except BadRequest:
        return False


def _merged(prompts: Sequence[CalibrationPrompt]) -> list[CalibrationPrompt]:
    """The prompts without repetitions, and with weights that add up to 1."""
    by_key: dict[str, CalibrationPrompt] = {}
    for prompt in prompts:
        weight = prompt.weight + (by_key[prompt.key].weight if prompt.key in by_key else 0.0)
        by_key[prompt.key] = replace(prompt, weight=weight)
    total = sum(prompt.weight for prompt in by_key.values())
    return [replace(prompt, weight=prompt.weight / total) for prompt in by_key.values()]


def _why_none(tenant: str, since: datetime, until: datetime, stores_texts: bool) -> str:
    period = f"from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}"
    none = f"from_log: no request of tenant {tenant!r} {period} has a stored body"
    if not stores_texts:
        return f"{none}, because {SETTING} is off; set {SETTING}=true and let requests come, or give prompts"
    return f"{none}; {SETTING} is on, so requests answered from now on have one for RESPONSE_TTL_S"
