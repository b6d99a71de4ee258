"""What the domain needs from the outside; adapters and fakes implement these."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from bandit.drift import ArmHistory
from service.domain.answer import Answer, Attempt, Chunk, Outcome
from service.domain.arm import Arm, ArmSums
from service.domain.basics import Json
from service.domain.conversation import ConversationState
from service.domain.decision import Decision, LoggedDecision
from service.domain.feedback import Experience, Feedback, ImplicitSignal, Learned, Pending, Reward
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.domain.query import Native
from service.domain.registration import ArmFigures, ArmRegistration, ShadowAnswer
from service.domain.traffic import Group, TrafficTotals

Clock = Callable[[], datetime]  # aware UTC


class Memory(Protocol):
    """Vector memory: an index of rated decisions, rebuildable from the journal at any time.

    One memory serves one vector space (`encoder`). Every call raises MemoryUnavailable when the
    index does not answer. Tenants never see each other's points.
    """

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        """The most similar experiences of the tenant that the query admits, most similar first."""
        ...

    async def remember(self, experiences: Sequence[Experience]) -> None:
        """Add or replace, keyed by decision_id; visible to recall when this returns."""
        ...

    async def forget(self, decision_ids: Sequence[UUID]) -> None:
        """Remove; unknown ids are ignored."""
        ...

    def all(self) -> AsyncIterator[Experience]:
        """Every point, in no order, for rebuilding."""
        ...

    async def prune(self) -> None:
        """Keep exactly the newest points per arm and tenant, up to the configured cap."""
        ...

    async def count(self) -> int: ...

    async def clear(self) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class Journal(Protocol):
    """The log of decisions and what they led to. Raises StoreUnavailable."""

    @property
    def is_degraded(self) -> bool:
        """Whether what is logged now waits outside PostgreSQL."""
        ...

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None: ...

    async def log_decision(self, decision: Decision) -> None:
        """Commit a decision.

        Raises RequestConflict when (tenant, request_id) is taken by another decision; logging the
        same decision_id again is harmless.
        """
        ...

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        """Commit attempts and outcome, and add the answer's latency and dollars to the evidence.

        All in one transaction; repeating it is harmless. A second outcome of the same decision
        replaces the first, its evidence included. Decisions with `learn` off add no evidence.
        """
        ...

    async def record(self, tenant: str, request_id: str) -> Json | None:
        """Everything about one request, in the shape of GET /requests/{request_id}."""
        ...


class ConversationStates(Protocol):
    """The arms that conversations are on. Written by the journal, with decisions. Raises StoreUnavailable."""

    async def find(self, tenant: str, key: bytes, since: datetime) -> ConversationState | None:
        """The pin of a conversation that went on at or after `since`."""
        ...

    async def prune(self, before: datetime) -> int:
        """Forget conversations that ended before; returns how many."""
        ...


class Evidence(Protocol):
    """What was learned of every arm: sums and histories in PostgreSQL, with a snapshot in this replica."""

    @property
    def is_loaded(self) -> bool:
        """Whether the snapshot was filled since the start."""
        ...

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        """The replica's snapshot, by arm id. Never waits."""
        ...

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        """Likewise, of the arms that were ever rated."""
        ...

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        """The newest rated decisions of a tenant in one vector space. Raises StoreUnavailable."""
        ...

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        """Commit a feedback event and its evidence in one transaction; the snapshot follows.

        `reward=None` withdraws what was said before. What is said of a whole conversation changes nothing
        where the request itself was rated (`kept`).

        Raises UnknownRequest, StoreUnavailable.
        """
        ...

    async def conversation_requests(self, tenant: str, session_id: str, limit: int) -> list[str]:
        """The request ids of a conversation's newest decisions that may teach, newest first."""
        ...

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> list[ImplicitSignal]:
        """Commit implicit signals on a decision and their evidence, likewise; returns those that are new.

        Each kind counts once for each arm of a decision, and as long as nobody scores that arm for it. A
        decision with `learn` off takes none.

        Raises UnknownRequest, StoreUnavailable.
        """
        ...

    async def pending(self, limit: int) -> list[Pending]:
        """Rated decisions whose memory lags behind, oldest first."""
        ...

    async def pending_for(self, decision_id: UUID) -> Pending | None:
        """The same for one decision, at its newest event; None when its memory is up to date."""
        ...

    async def remembered(self, pending: Pending) -> bool:
        """Mark as up to date. False when a newer event came in between: fetch and apply again."""
        ...


class ArmRegistry(Protocol):
    """What is decided of the arms at runtime, for all replicas. Raises StoreUnavailable."""

    async def change(
        self, decide: Callable[[Mapping[str, ArmRegistration]], ArmRegistration]
    ) -> ArmRegistration:
        """Commit what `decide` makes of the enrolments, one change after the other; the replicas follow.

        A price change it adds is applied to the arm's evidence in the same transaction.
        """
        ...

    async def figures(self) -> Mapping[str, ArmFigures]:
        """What was observed of every arm, by arm id."""
        ...


class ShadowLog(Protocol):
    """What arms in shadow answered, and what they may spend. Raises StoreUnavailable."""

    async def reserve(self, arm_id: str, usd: Decimal, now: datetime) -> bool:
        """Set dollars aside for a call; False: the arm has spent what it may today, or left the shadow."""
        ...

    async def keep(self, answer: ShadowAnswer) -> None:
        """Commit an answer, its dollars in place of those reserved, and add both to the evidence.

        A decision that waits to be written to PostgreSQL has no shadow answers.
        """
        ...


class Reports(Protocol):
    """What requests came to, counted when asked. Raises StoreUnavailable."""

    async def traffic(self, tenant: str, since: datetime, until: datetime) -> Mapping[Group, TrafficTotals]:
        """By group, the requests decided at or after `since` and before `until`, and their newest rating."""
        ...


class Tokenizers(Protocol):
    """Counts tokens, off the event loop."""

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        """Of all the texts together; None: that tokenizer is not at hand, or takes too long."""
        ...


class ModelClient(Protocol):
    """Calls one arm's provider. Raises the ProviderError tree, nothing else.

    `body` is an OpenAI Chat Completions request; the adapter puts in the upstream's model name and
    passes on only what it knows. An arm that speaks the dialect of `native` gets that instead, and its
    answers are native too. Cancelling the task, or closing the stream, ends the upstream call.
    """

    async def complete(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> Answer: ...

    def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Pieces as they come. `timeout_s` bounds each wait for the next piece.

        Every stream that ends normally has carried a finish_reason and one piece with `usage`;
        one that ends otherwise raises.
        """
        ...

    async def close(self) -> None: ...
