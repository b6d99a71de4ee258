"""Writes a recorded row as if the router had served it: decision, outcome, feedback, evidence."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID, uuid5

import orjson

from embeddings.encoder import TextEncoder
from service.arms.eligibility import list_cost_usd
from service.domain.answer import Attempt, Outcome, Usage
from service.domain.arm import Arm
from service.domain.decision import Decision
from service.domain.feedback import Feedback, Rater
from service.domain.ports import Evidence, Journal
from service.domain.query import Options, Query
from service.domain.registration import ArmRegistration
from service.errors import RequestConflict
from service.learning.importing.rows import Row
from service.learning.rewards import reward_of
from service.routing.priors import USUAL_LATENCY_S

DIALECT = "import"
BYTES_PER_TOKEN = 4
IMPORTED = Rater(source="import")
N_AT_ONCE = 8  # fewer than connections
_NAMESPACE = UUID("6f6c1f0e-52d5-4c0e-9a53-0d0c5b1f7a11")  # of ids made from a row's content

Added = Literal["imported", "known", "refused"]


@dataclass(frozen=True, slots=True)
class Importer:
    """Writes rows through the journal and the evidence; the memory follows from its queue.

    Args:
        now: time of a row without `at`.
        registrations: by arm id; recorded dollars count at the prices of their time.
        n_at_once: rows under way at once; a journal that groups them needs many.
    """

    journal: Journal
    evidence: Evidence
    encoder: TextEncoder
    tenant: str
    now: datetime
    registrations: Mapping[str, ArmRegistration] = field(default_factory=dict)
    n_at_once: int = N_AT_ONCE

    async def add(self, row: Row, arm: Arm, weight: Decimal) -> Added:
        """Write one row; writing it again changes nothing.

        Returns:
            `refused` if another request has its request id.

        Raises:
            StoreUnavailable: PostgreSQL is unavailable; adding the row again writes what is missing.
            EncoderError: the prompt could not be encoded.
        """
        query = self._query(row, arm)
        decision_id = uuid5(_NAMESPACE, f"{query.tenant} {query.request_id} {query.body_digest.hex()}")
        logged = await self.journal.find(self.tenant, query.request_id)
        if logged is None or logged.n_attempts == 0:
            try:
                await self._log(row, arm, query, decision_id)
            except RequestConflict:
                return "refused"
        elif logged.decision_id != decision_id:
            return "refused"
        feedback = Feedback(self.tenant, query.request_id, row.score, None, query.received_at, rater=IMPORTED)
        reward = reward_of(feedback)
        assert reward is not None  # a row has a score
        learned = await self.evidence.learn(feedback, replace(reward, weight=weight))
        return "known" if learned.status == "duplicate" else "imported"

    async def add_all(
        self, rows: Iterable[tuple[Row, Arm, Decimal]], on_added: Callable[[int], None]
    ) -> Mapping[Added, int]:
        """Write rows with their arms and weights, `n_at_once` at a time.

        Args:
            on_added: called with the number of rows done.

        Raises:
            StoreUnavailable, EncoderError: as `add`.
        """
        n_added = Counter[Added]()
        waiting = iter(rows)

        async def work() -> None:
            for row, arm, weight in waiting:
                n_added[await self.add(row, arm, weight)] += 1
                on_added(n_added.total())

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self.n_at_once):
                    workers.create_task(work())
        except ExceptionGroup as errors:  # the workers fail for the same reason
            raise errors.exceptions[0] from errors
        return n_added

    async def _log(self, row: Row, arm: Arm, query: Query, decision_id: UUID) -> None:
        vector = row.vector
        decision = Decision(
            decision_id=decision_id,
            query=query,
            kind="pinned",
            arm_id=arm.arm_id,
            propensity=row.propensity or 1.0,
            uniform=0.0,
            candidates=(),
            rejected=(),
            neighbours=(),
            n_rated=0.0,
            expert_weights=(),
            ease=0.0,
            neighbour_ease=(),
            confidence=1.0,
            budget_price=0.0,
            encoder=self.encoder.name,
            context=await self.encoder.encode(query.text) if vector is None else vector,
            degraded=(),
            decided_at=query.received_at,
        )
        outcome = self._outcome(row, arm, query, decision_id)
        await self.journal.log_answer(decision, outcome, [_attempt(row, outcome)])

    def _outcome(self, row: Row, arm: Arm, query: Query, decision_id: UUID) -> Outcome:
        """The row's outcome; unrecorded dollars and seconds are those expected of an arm never called.

        Neighbours need both values, but the arm's own means must not include expected ones. Such an outcome
        has the kind `cache`, which the means leave out.
        """
        has_no_price = arm.price is None  # and so no expected dollars either
        is_recorded = row.latency_s is not None and (row.cost_usd is not None or has_no_price)
        cost_usd = _expected_usd(arm, query) if row.cost_usd is None else row.cost_usd
        return Outcome(
            decision_id=decision_id,
            tenant=self.tenant,
            arm_id=arm.arm_id,
            kind="pinned" if is_recorded else "cache",
            status="ok",
            latency_s=USUAL_LATENCY_S if row.latency_s is None else row.latency_s,
            ttft_s=None,
            overhead_s=0.0,
            usage=Usage(prompt_tokens=query.n_prompt_tokens, estimated=True),
            cost_usd=cost_usd,
            call_cost_usd=cost_usd,
            cost_source="unknown" if cost_usd is None else "price",
            finish_reason=None,
            answer_chars=0,
            answer_digest=None,
            answer_text=None,
            completed_at=query.received_at,
            price_version=self._price_version(row, arm, query.received_at),
        )

    def _price_version(self, row: Row, arm: Arm, moment: datetime) -> int:
        registration = self.registrations.get(arm.arm_id)
        if registration is None or row.cost_usd is None:  # expected dollars, at today's price
            return arm.price_version
        return registration.price_version(moment)

    def _query(self, row: Row, arm: Arm) -> Query:
        content: list[object] = [
            row.prompt or row.context,
            arm.arm_id,
            row.score,
            str(row.cost_usd),
            row.latency_s,
            row.propensity,
            row.at,
        ]
        return Query(
            tenant=self.tenant,
            request_id=row.request_id or f"import-{_digest(content).hex()[:40]}",
            request_id_given=row.request_id is not None,
            body={"model": arm.arm_id, "messages": [{"role": "user", "content": row.prompt or ""}]},
            text=row.prompt or "",
            body_digest=_digest([row.prompt or row.context, arm.arm_id]),
            dialect=DIALECT,
            requested_model=arm.arm_id,
            stream=False,
            n_prompt_tokens=_prompt_tokens(row),
            max_output_tokens=None,
            options=Options(task=row.task),
            received_at=row.at or self.now,
        )


def _prompt_tokens(row: Row) -> int:
    if row.prompt_tokens is not None:
        return row.prompt_tokens
    return -(-len((row.prompt or "").encode()) // BYTES_PER_TOKEN)


def _expected_usd(arm: Arm, query: Query) -> Decimal | None:
    return None if arm.price is None else list_cost_usd(arm, query)


def _attempt(row: Row, outcome: Outcome) -> Attempt:
    return Attempt(
        attempt_id=outcome.decision_id,
        decision_id=outcome.decision_id,
        position=0,
        arm_id=outcome.arm_id,
        propensity=row.propensity or 1.0,
        status="ok",
        started_at=outcome.completed_at,
        latency_s=outcome.latency_s,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        cost_source=outcome.cost_source,
    )


def _digest(content: list[object]) -> bytes:
    return hashlib.sha256(orjson.dumps(content)).digest()
