"""The protocols that the domain needs; adapters and fakes implement them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol
from uuid import UUID

from bandit.drift import ArmHistory
from service.domain.answer import Answer, Attempt, Burst, Outcome
from service.domain.arm import Arm, ArmSums
from service.domain.basics import Json, Vector
from service.domain.cached_answer import CachedAnswer, KeptQuestion
from service.domain.calibration import Calibration
from service.domain.conversation import ConversationState
from service.domain.decision import Decision, LoggedDecision
from service.domain.embedding import EmbeddingRequest, Embeddings
from service.domain.feedback import (
    Experience,
    Feedback,
    ImplicitSignal,
    Learned,
    Pending,
    Reward,
    SignalsLearned,
)
from service.domain.key_check import KeyCheck
from service.domain.logged_requests import Place, RequestFilter, RequestSummary
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.domain.price_list import ListedModel
from service.domain.query import Native
from service.domain.registration import ArmFigures, ArmRegistration, ShadowAnswer
from service.domain.stored_response import StoredResponse
from service.domain.traffic import Group, TrafficTotals

Clock = Callable[[], datetime]  # aware UTC


class Memory(Protocol):
    """Vector memory: an index of rated decisions, rebuildable from the journal at any time.

    One memory serves one vector space (`encoder`). Every call raises MemoryUnavailable when the
    index does not answer. A tenant sees only its own points.
    """

    async def recall(self, query: NeighbourQuery) -> NeighbourColumns:
        """The tenant's most similar experiences that match the query, most similar first."""
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
        """Remove the oldest points of each arm and tenant above the configured cap."""
        ...

    async def count(self) -> int: ...

    async def clear(self) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class EmbeddingClient(Protocol):
    """Calls the deployments of embedding models."""

    async def embed(
        self, arm: Arm, request: EmbeddingRequest, *, n_dimensions: int | None, timeout_s: float
    ) -> Embeddings:
        """The vectors, each of `n_dimensions` numbers unless that is None. Raises ProviderError."""
        ...


class ModerationClient(Protocol):
    """Calls the deployments of moderation models."""

    async def moderate(self, arm: Arm, content: object, *, timeout_s: float) -> Json:
        """The answer of the server: an object with `results`. Raises ProviderError."""
        ...


class Journal(Protocol):
    """The log of decisions and their outcomes. Raises StoreUnavailable."""

    @property
    def is_degraded(self) -> bool:
        """Whether log entries wait outside PostgreSQL."""
        ...

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None: ...

    async def log_decision(self, decision: Decision) -> None:
        """Commit a decision.

        Raises RequestConflict if (tenant, request_id) belongs to another decision. Logging the same
        decision_id again changes nothing.
        """
        ...

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        """Commit attempts and outcome, and add the answer's latency and dollars to the evidence.

        All in one transaction; a repetition changes nothing. A second outcome of the same decision
        replaces the first and its evidence. Decisions with `learn` off add no evidence.
        """
        ...

    async def log_answer(self, decision: Decision, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        """Commit a decision and its outcome as `log_decision` and `log_outcome` do, in one transaction.

        Raises RequestConflict as `log_decision` does, and then writes neither.
        """
        ...

    async def request_named_by(self, tenant: str, answer_id: str) -> str | None:
        """The id of the request that has an answer of this id; None: there is none, or there are several."""
        ...

    async def record(self, tenant: str, request_id: str) -> Json | None:
        """Everything about one request, in the shape of GET /requests/{request_id}."""
        ...


class ConversationStates(Protocol):
    """The current arms of conversations, written by the journal. Raises StoreUnavailable."""

    async def find(
        self, tenant: str, keys: Sequence[bytes], since: datetime
    ) -> Mapping[bytes, ConversationState]:
        """The states under these keys, of conversations whose newest request came at or after `since`."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete conversations whose newest request came before; returns how many."""
        ...


class AnswerStore(Protocol):
    """Answers that all replicas may give again. Raises StoreUnavailable."""

    async def find(self, tenant: str, key: bytes, now: datetime) -> CachedAnswer | None:
        """The answer under the key, until it expires."""
        ...

    async def near(self, tenant: str, scope: bytes, now: datetime, limit: int) -> Sequence[KeptQuestion]:
        """The newest questions of the scope, the newest first."""
        ...

    async def keep(self, answer: CachedAnswer) -> None:
        """Commit an answer; it replaces that of the same request."""
        ...

    async def prune(self, now: datetime, max_size: int) -> int:
        """Delete the expired answers, and the oldest beyond `max_size`; returns how many."""
        ...

    async def clear(self, tenant: str) -> int:
        """Delete all answers of the tenant; returns how many."""
        ...

    async def count(self, tenant: str) -> int:
        """The number of the tenant's answers."""
        ...


class ResponseStore(Protocol):
    """The stored responses of the Responses dialect. Raises StoreUnavailable."""

    async def keep(self, response: StoredResponse) -> None:
        """Commit a response; a retry of its request replaces it."""
        ...

    async def chain(self, tenant: str, response_id: str, limit: int) -> Sequence[StoredResponse]:
        """The response and those that it continues, the oldest first and at most `limit`; none if unknown."""
        ...

    async def delete(self, tenant: str, response_id: str) -> bool:
        """Delete a response; False: there is none."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete the responses created before; returns how many."""
        ...


class CalibrationStore(Protocol):
    """The calibrations of running routers. Raises StoreUnavailable."""

    async def keep(self, calibration: Calibration) -> bool:
        """Commit a calibration as it is now; whether it runs and is to stop."""
        ...

    async def request_stop(self, tenant: str, calibration_id: UUID) -> None:
        """Have the process that runs the calibration stop it."""
        ...

    async def find(self, tenant: str, calibration_id: UUID) -> Calibration | None:
        """The calibration of this id; None: there is none."""
        ...

    async def unfinished(self, tenant: str, options_digest: bytes) -> Calibration | None:
        """The newest calibration of these options that is not done; None: there is none."""
        ...

    async def newest(self, tenant: str, limit: int) -> Sequence[Calibration]:
        """The newest calibrations without prompts and report, the newest first."""
        ...

    async def delete(self, tenant: str, calibration_id: UUID) -> None:
        """Delete the calibration of this id, if there is one."""
        ...


class Evidence(Protocol):
    """What was learned about every arm: sums and histories in PostgreSQL, with a snapshot in this replica."""

    @property
    def is_loaded(self) -> bool:
        """Whether the snapshot has been filled since the start."""
        ...

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        """The sums in the replica's snapshot, by arm id. Never waits."""
        ...

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        """The histories in the snapshot, of the arms that were ever rated. Never waits."""
        ...

    def others(self, tenant: str) -> Iterable[Mapping[str, ArmHistory]]:
        """The same of every other tenant, without their names. Never waits."""
        ...

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        """The newest rated decisions of a tenant in one vector space. Raises StoreUnavailable."""
        ...

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        """Commit a feedback event and its evidence in one transaction, then update the snapshot.

        `reward=None` withdraws the earlier feedback. Feedback on a whole conversation changes nothing
        if the request has a rating of its own (`kept`).

        What was learned is pending until the memory holds it. Raises UnknownRequest, StoreUnavailable.
        """
        ...

    async def conversation_requests(self, tenant: str, session_id: str, limit: int) -> list[str]:
        """The request ids of a conversation's newest decisions with `learn` on, newest first."""
        ...

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> SignalsLearned:
        """Commit implicit signals on a decision and their evidence in one transaction.

        Each kind of signal counts once for each arm of a decision, until the arm is scored for it. A
        decision with `learn` off accepts no signals.

        Raises UnknownRequest, StoreUnavailable.
        """
        ...

    async def add_contexts(self, contexts: Mapping[UUID, Vector], encoder: str) -> None:
        """Write the contexts of decisions that were logged without one; the memory gets the rated ones.

        Decisions that are unknown, or have a context, do not change. Raises StoreUnavailable.
        """
        ...

    async def pending(self, limit: int) -> list[Pending]:
        """Rated decisions that the memory must update, oldest first."""
        ...

    async def pending_for(self, decision_ids: Collection[UUID]) -> list[Pending]:
        """The same for these decisions, at their newest events; without those that are up to date."""
        ...

    async def mark_remembered(self, remembered: Collection[Pending]) -> set[UUID]:
        """Mark as up to date.

        Returns the decisions with newer events or outcomes: fetch and apply them again.
        """
        ...


class ArmRegistry(Protocol):
    """The arms' runtime settings, shared by all replicas. Raises StoreUnavailable."""

    async def change(
        self, decide: Callable[[Mapping[str, ArmRegistration]], ArmRegistration]
    ) -> ArmRegistration:
        """Commit the registration that `decide` returns for the current ones; the replicas follow.

        Changes run one after the other. A new price change is applied to the arm's evidence in the same
        transaction.
        """
        ...

    async def figures(self, tenant: str) -> Mapping[str, ArmFigures]:
        """What the tenant's requests have shown of every arm, by arm id."""
        ...


class ShadowLog(Protocol):
    """The answers of arms in shadow, and their daily budgets. Raises StoreUnavailable."""

    async def reserve(self, arm_id: str, usd: Decimal, now: datetime) -> bool:
        """Reserve dollars for a call; False: today's budget is spent, or the arm is no longer in shadow."""
        ...

    async def keep(self, answer: ShadowAnswer) -> None:
        """Commit an answer, replace the reserved dollars by its cost, and add it to the evidence.

        The answer is dropped if its decision is not written to PostgreSQL yet.
        """
        ...


class Reports(Protocol):
    """Totals and lists of requests, read on demand. Raises StoreUnavailable."""

    async def traffic(self, tenant: str, since: datetime, until: datetime) -> Mapping[Group, TrafficTotals]:
        """Totals by group of the requests decided in [since, until), with their newest ratings."""
        ...

    async def requests(
        self, tenant: str, wanted: RequestFilter, limit: int, after: Place | None = None
    ) -> Sequence[RequestSummary]:
        """The newest matching requests, at most `limit`, of those behind a place in the list."""
        ...


class Tokenizers(Protocol):
    """Counts tokens, off the event loop."""

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        """The tokens of all texts together; None: the tokenizer is missing, or takes too long."""
        ...


class PriceLists(Protocol):
    """Reads the prices that providers publish."""

    async def read(self, arm: Arm) -> Mapping[str, ListedModel]:
        """The models of the arm's server that have a price there, by the server's names.

        Raises:
            ProviderError: the server cannot be asked, or gives no list in time.
        """
        ...


class KeyChecker(Protocol):
    """Asks providers whether they accept a key. Never raises."""

    async def check(self, arm: Arm) -> KeyCheck: ...


class ModelClient(Protocol):
    """Calls one arm's provider. Raises only errors of the ProviderError tree.

    `body` is an OpenAI Chat Completions request; the adapter sets the upstream's model name and sends only
    the fields that it knows. An arm that speaks the dialect of `native` receives `native` instead, and
    answers in that dialect. Cancelling the task, or closing the stream, ends the upstream call.
    """

    async def complete(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> Answer: ...

    def stream(
        self, arm: Arm, body: Json, *, timeout_s: float, native: Native | None = None
    ) -> AsyncGenerator[Burst, None]:
        """Chunks as they arrive: those that one read brought together. `timeout_s` bounds each wait for more.

        The arm's own patience bounds the time in which its provider sends nothing at all.

        A stream that ends normally has carried a finish_reason and one chunk with `usage`; any other
        end raises.
        """
        ...

    async def close(self) -> None: ...
