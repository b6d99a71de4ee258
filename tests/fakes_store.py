"""Journal, evidence and conversation states for tests: dicts with the semantics of the real ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal, localcontext
from functools import reduce
from uuid import UUID

import orjson

from bandit.drift import ArmHistory
from service.domain.answer import Attempt, Outcome, Usage
from service.domain.answer_ids import decision_named_by
from service.domain.arm import ArmSums
from service.domain.basics import EXACT, Json, Vector
from service.domain.cached_answer import CachedAnswer
from service.domain.calibration import Calibration
from service.domain.conversation import ConversationState
from service.domain.decision import Decision, LoggedDecision
from service.domain.explanation import explanation_for_clients
from service.domain.feedback import (
    Experience,
    Feedback,
    FeedbackStatus,
    ImplicitSignal,
    Learned,
    Pending,
    Reward,
    SignalsLearned,
)
from service.domain.forgotten import Tombstones
from service.domain.logged_explanation import explanation
from service.domain.registration import ArmRegistration, PriceChange, ShadowAnswer
from service.domain.stored_response import StoredResponse
from service.errors import RequestConflict, StoreBusy, StoreUnavailable, UnknownRequest
from service.store.connection.values import storable
from service.store.evidence.histories import RecordedFeedback, folded
from service.store.evidence.standing_feedback import Event, StandingFeedback
from service.store.evidence.sums import (
    differences,
    nine_places,
    nine_places_or_zero,
    outcome_sums,
    six_places,
    standing_sums,
)
from service.store.log.group import LogEntry


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event as stored."""

    event_id: int
    event: Event
    received_at: datetime


@dataclass(slots=True)
class FakeStore:
    """The data that the fakes share. `is_down = True` makes every call fail."""

    decisions: dict[UUID, Decision] = field(default_factory=dict)
    attempts: dict[UUID, Attempt] = field(default_factory=dict)
    outcomes: dict[UUID, Outcome] = field(default_factory=dict)
    events: dict[UUID, list[StoredEvent]] = field(default_factory=dict)
    sums: dict[str, dict[str, ArmSums]] = field(default_factory=dict)
    histories: dict[str, dict[str, ArmHistory]] = field(default_factory=dict)
    queue: dict[UUID, int] = field(default_factory=dict)  # decision_id -> event_id, oldest first
    registrations: dict[str, ArmRegistration] = field(default_factory=dict)
    conversation_states: dict[tuple[str, bytes], ConversationState] = field(default_factory=dict)
    responses: dict[tuple[str, str], StoredResponse] = field(default_factory=dict)
    answers: dict[tuple[str, bytes], CachedAnswer] = field(default_factory=dict)
    calibrations: dict[UUID, Calibration] = field(default_factory=dict)
    stop_requests: set[UUID] = field(default_factory=set)  # of calibrations
    shadow_answers: dict[tuple[UUID, str], ShadowAnswer] = field(default_factory=dict)
    shadow_usd: dict[tuple[str, date], Decimal] = field(default_factory=dict)
    forgotten: set[UUID] = field(default_factory=set)  # decisions
    n_events: int = 0
    is_down: bool = False
    was_away: bool = False
    is_busy: bool = False  # it answers, but none of these calls
    is_read_only: bool = False  # so that the spool keeps what it has

    def check(self) -> None:
        if self.is_down:
            raise StoreUnavailable("PostgreSQL does not answer (FakeStore)")
        if self.is_busy:
            raise StoreBusy("the router is overloaded: all 10 connections are in use (FakeStore)")

    def check_write(self) -> None:
        self.check()
        if self.is_read_only:
            raise StoreUnavailable("PostgreSQL is read only (FakeStore)")

    def decision(self, tenant: str, request_id: str) -> Decision | None:
        for decision in self.decisions.values():
            if (decision.query.tenant, decision.query.request_id) == (tenant, request_id):
                return decision
        return None

    def attempts_of(self, decision_id: UUID) -> list[Attempt]:
        return [a for a in self.attempts.values() if a.decision_id == decision_id]

    def put_conversation(self, decision: Decision) -> None:
        conversation, key = decision.conversation, decision.query.turn.key
        if conversation is None or key is None:
            return
        stored = self.conversation_states.get((decision.query.tenant, key))
        if stored is None or stored.updated_at <= conversation.updated_at:
            self.conversation_states[decision.query.tenant, key] = conversation

    def move_conversation(self, decision: Decision, outcome: Outcome) -> None:
        key = decision.query.turn.key
        if outcome.conversation is None:
            return
        for name in outcome.answer_names:
            named = self.conversation_states.get((outcome.tenant, name))
            if named is None or named.updated_at <= outcome.conversation.updated_at:
                self.conversation_states[outcome.tenant, name] = outcome.conversation
        if key is None:
            return
        stored = self.conversation_states.get((decision.query.tenant, key))
        if stored is not None and stored.decision_id == outcome.decision_id:
            moved = outcome.conversation
            self.conversation_states[decision.query.tenant, key] = replace(
                stored,
                arm_id=moved.arm_id,
                vendor=moved.vendor,
                n_messages_of_other_vendors=moved.n_messages_of_other_vendors,
                updated_at=moved.updated_at,
            )

    def standing_feedback(self, decision_id: UUID) -> StandingFeedback:
        events = (stored.event for stored in self.events.get(decision_id, []))
        return reduce(StandingFeedback.after, events, StandingFeedback())

    def feedback(self, decision_id: UUID) -> list[StoredEvent]:
        """Users' feedback, with withdrawals and without signals."""
        return [stored for stored in self.events.get(decision_id, []) if stored.event.signal is None]

    def add(self, tenant: str, changes: Mapping[str, ArmSums]) -> None:
        sums = self.sums.setdefault(tenant, {})
        for arm_id, change in changes.items():
            sums[arm_id] = sums.get(arm_id, ArmSums()) + change

    def in_todays_prices(self, arm_id: str, sums: ArmSums, price_version: int) -> ArmSums:
        registration = self.registrations.get(arm_id)
        changes = registration.price_changes[price_version:] if registration else ()
        return reduce(repriced, changes, sums)

    def outcome_sums(self, outcome: Outcome) -> dict[str, ArmSums]:
        return {outcome.arm_id: self.in_todays_prices(outcome.arm_id, _sums(outcome), outcome.price_version)}


def repriced(sums: ArmSums, change: PriceChange) -> ArmSums:
    """The sums after a price change, by which each answer's dollars c become factor * c + added_usd."""
    with localcontext(EXACT):
        factor, added = change.factor, change.added_usd
        usd = factor * sums.cost_usd_sum + sums.n_priced * added
        mixed = 2 * factor * added * sums.cost_usd_sum
        squares = factor**2 * sums.cost_usd_squares + mixed + sums.n_priced * added**2
    return replace(sums, cost_usd_sum=usd, cost_usd_squares=squares)


class FakeJournal:
    """A Journal in memory."""

    is_degraded = False

    def __init__(self, store: FakeStore | None = None, *, store_texts: bool = False) -> None:
        self.store = FakeStore() if store is None else store
        self.store_texts = store_texts

    async def find(self, tenant: str, request_id: str) -> LoggedDecision | None:
        self.store.check()
        decision = self.store.decision(tenant, request_id)
        if decision is None:
            return None
        return LoggedDecision(
            decision_id=decision.decision_id,
            body_digest=decision.query.body_digest,
            arm_id=decision.arm_id,
            propensity=decision.propensity,
            kind=decision.kind,
            n_attempts=len(self.store.attempts_of(decision.decision_id)),
            probabilities=tuple((c.arm_id, c.probability) for c in decision.candidates),
            step=decision.step,
        )

    async def log_decision(self, decision: Decision) -> None:
        self.store.check_write()
        query = decision.query
        first = self.store.decision(query.tenant, query.request_id)
        if first is not None and first.decision_id != decision.decision_id:
            raise RequestConflict(f"X-Request-ID {query.request_id!r} was used before", param="X-Request-ID")
        if decision.decision_id not in self.store.decisions:
            self.store.decisions[decision.decision_id] = decision
            self.store.put_conversation(decision)

    async def log_outcome(self, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        self.store.check_write()
        decision = self.store.decisions.get(outcome.decision_id)
        if decision is None:
            raise UnknownRequest(f"no decision {outcome.decision_id} was logged")
        self.store.move_conversation(decision, outcome)
        self.store.attempts = {a.attempt_id: a for a in attempts} | self.store.attempts
        before = self.store.outcomes.get(outcome.decision_id)
        events = self.store.events.get(outcome.decision_id)
        if events and decision.query.options.learn and decision.context is not None:
            self.store.queue.setdefault(outcome.decision_id, events[-1].event_id)
        if before is not None and before.completed_at > outcome.completed_at:
            return
        self.store.outcomes[outcome.decision_id] = outcome
        if decision.query.options.learn:
            old = {} if before is None else self.store.outcome_sums(before)
            self.store.add(outcome.tenant, differences(old, self.store.outcome_sums(outcome)))

    async def log_answer(self, decision: Decision, outcome: Outcome, attempts: Sequence[Attempt]) -> None:
        await self.log_decision(decision)
        await self.log_outcome(outcome, attempts)

    async def find_group(self, keys: Sequence[tuple[str, str]]) -> list[LoggedDecision | None]:
        return [await self.find(*key) for key in keys]

    async def log_group(self, entries: Sequence[LogEntry]) -> list[Exception | None]:
        return [await self._error_of(entry) for entry in entries]

    async def forgotten_among(self, decisions: Sequence[Decision], decision_ids: Sequence[UUID]) -> set[UUID]:
        self.store.check()
        named = {decision.decision_id for decision in decisions} | set(decision_ids)
        return self.store.forgotten & named

    async def _error_of(self, entry: LogEntry) -> Exception | None:
        try:
            if entry.decision is not None:
                await self.log_decision(entry.decision)
            if entry.outcome is not None:
                await self.log_outcome(entry.outcome, entry.attempts)
        except (RequestConflict, UnknownRequest) as error:
            return error
        return None

    async def request_named_by(self, tenant: str, answer_id: str) -> str | None:
        self.store.check()
        named = decision_named_by(answer_id)
        given = {o.decision_id for o in self.store.outcomes.values() if o.answer_id == answer_id}
        found = [self.store.decisions[i] for i in given | {named} if i in self.store.decisions]
        ids = [decision.query.request_id for decision in found if decision.query.tenant == tenant]
        return ids[0] if len(ids) == 1 else None

    async def record(self, tenant: str, request_id: str) -> Json | None:
        self.store.check()
        decision = self.store.decision(tenant, request_id)
        if decision is None:
            return None
        outcome = self.store.outcomes.get(decision.decision_id)
        attempts = sorted(self.store.attempts_of(decision.decision_id), key=lambda a: a.position)
        events = [_event(e) for e in self.store.feedback(decision.decision_id)]
        return {
            **self._decision(decision),
            "model": decision.arm_id if outcome is None else outcome.arm_id,
            "attempts": [_attempt(a) for a in attempts],
            "outcome": None if outcome is None else self._outcome(outcome),
            "shadow": [
                self._shadow(a)
                for (i, _), a in self.store.shadow_answers.items()
                if i == decision.decision_id
            ],
            "feedback": events,
            "signals": self._signals(decision),
            "reward": events[-1]["reward"] if events else None,
        }

    def _signals(self, decision: Decision) -> list[Json]:
        standing = self.store.standing_feedback(decision.decision_id)
        return [
            {
                "signal": stored.event.signal,
                "model": stored.event.arm_id,
                "weight": float(stored.event.reward.weight),
                "counts": decision.query.options.learn and standing.scored(stored.event.arm_id) is None,
                "received_at": stored.received_at.isoformat(),
            }
            for stored in self.store.events.get(decision.decision_id, [])
            if stored.event.signal is not None and stored.event.reward is not None
        ]

    def _decision(self, decision: Decision) -> Json:
        query = decision.query
        return {
            "request_id": query.request_id,
            "decision_id": str(decision.decision_id),
            "tenant": query.tenant,
            "decided_at": decision.decided_at.isoformat(),
            "dialect": query.dialect,
            "stream": query.stream,
            "requested_model": query.requested_model,
            "decision": decision.kind,
            "chosen_model": decision.arm_id,
            "propensity": decision.propensity,
            "holdout": decision.holdout,
            "degraded": list(decision.degraded),
            "learn": query.options.learn,
            "session_id": query.options.session_id,
            "task": query.options.task,
            "query": {
                "n_chars": len(query.text),
                "n_prompt_tokens": query.n_prompt_tokens,
                "digest": query.body_digest.hex(),
                "text": storable(query.text) if self.store_texts else None,
            },
            **explanation_for_clients(decision),
        }

    def _outcome(self, outcome: Outcome) -> Json:
        return {
            "model": outcome.arm_id,
            "decision": outcome.kind,
            "status": outcome.status,
            **_call(outcome),
            "overhead_s": float(six_places(outcome.overhead_s)),
            "answer_chars": outcome.answer_chars,
            "answer_digest": None if outcome.answer_digest is None else outcome.answer_digest.hex(),
            "answer_text": outcome.answer_text if self.store_texts else None,
            "completed_at": outcome.completed_at.isoformat(),
        }

    def _shadow(self, answer: ShadowAnswer) -> Json:
        of_attempts = {"attempt_id", "position", "propensity"}
        shown = {name: value for name, value in _attempt(answer.attempt).items() if name not in of_attempts}
        return {**shown, "answer_text": answer.text if self.store_texts else None}


class FakeConversationStates:
    """A ConversationStates in memory."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = FakeStore() if store is None else store

    async def find(
        self, tenant: str, keys: Sequence[bytes], since: datetime
    ) -> Mapping[bytes, ConversationState]:
        self.store.check()
        found = {key: self.store.conversation_states.get((tenant, key)) for key in keys}
        return {
            key: conversation
            for key, conversation in found.items()
            if conversation is not None and conversation.updated_at >= since
        }

    async def prune(self, before: datetime) -> int:
        self.store.check()
        old = [
            key
            for key, conversation in self.store.conversation_states.items()
            if conversation.updated_at < before
        ]
        for key in old:
            del self.store.conversation_states[key]
        return len(old)


class FakeResponseStore:
    """A ResponseStore in memory."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = FakeStore() if store is None else store

    async def keep(self, response: StoredResponse) -> None:
        self.store.check()
        self.store.responses[response.tenant, response.response_id] = response

    async def chain(self, tenant: str, response_id: str, limit: int) -> Sequence[StoredResponse]:
        self.store.check()
        chain: list[StoredResponse] = []
        next_id: str | None = response_id
        while len(chain) < limit and (found := self.store.responses.get((tenant, next_id or ""))):
            chain.insert(0, found)
            next_id = found.previous_id
        return chain

    async def delete(self, tenant: str, response_id: str) -> bool:
        self.store.check()
        return self.store.responses.pop((tenant, response_id), None) is not None

    async def prune(self, before: datetime) -> int:
        self.store.check()
        old = [key for key, response in self.store.responses.items() if response.created_at < before]
        for key in old:
            del self.store.responses[key]
        return len(old)


class FakeEvidence:
    """An Evidence in memory."""

    def __init__(self, store: FakeStore | None = None) -> None:
        self.store = FakeStore() if store is None else store
        self.is_loaded = True

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self.store.sums.get(tenant, {})

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        return self.store.histories.get(tenant, {})

    def others(self, tenant: str) -> Iterable[Mapping[str, ArmHistory]]:
        return [histories for other, histories in self.store.histories.items() if other != tenant]

    async def rated(self, tenant: str, encoder: str, limit: int) -> list[Experience]:
        self.store.check()
        newest = sorted(self.store.events.items(), key=lambda item: item[1][-1].event_id, reverse=True)
        found = [self._experience(self.store.decisions[decision_id]) for decision_id, _ in newest]
        return [e for e in found if e is not None and (e.tenant, e.encoder) == (tenant, encoder)][:limit]

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        self.store.check()
        decision = self.store.decision(feedback.tenant, feedback.request_id)
        if decision is None:
            raise UnknownRequest(f"request_id {feedback.request_id!r} does not exist", param="request_id")
        earlier = self.store.feedback(decision.decision_id)
        rated = self.store.standing_feedback(decision.decision_id).rated
        before = None if rated is None else rated[1]
        outcome = self.store.outcomes.get(decision.decision_id)
        arm_id = decision.arm_id if outcome is None else outcome.arm_id
        if feedback.session_id is not None and rated is not None and earlier[-1].event.session_id is None:
            return _learned("kept", decision, rated[0], None, before)
        if _is_repeated(earlier, feedback, reward):
            credited = earlier[-1].event.arm_id if earlier else arm_id
            return _learned("duplicate", decision, credited, None, before)
        score = None if reward is None else feedback.score
        event = Event(
            arm_id,
            reward,
            score=score,
            text=feedback.text,
            session_id=feedback.session_id,
            rater=feedback.rater,
        )
        event_id = self._append(decision, event, feedback.received_at)
        pending = self._queued(decision.decision_id)
        if not decision.query.options.learn:
            return _learned("not_learned", decision, arm_id, event_id, reward)
        if reward is None:
            return _learned("withdrawn", decision, arm_id, event_id, None, pending)
        return _learned("revised" if before else "applied", decision, arm_id, event_id, reward, pending)

    async def learn_signals(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], received_at: datetime
    ) -> SignalsLearned:
        self.store.check()
        decision = self.store.decisions.get(decision_id)
        if decision is None or decision.query.tenant != tenant:
            raise UnknownRequest(f"no decision {decision_id} was logged")
        events = [stored.event for stored in self.store.events.get(decision_id, [])]
        known = {(event.signal, event.arm_id) for event in events}
        new = [signal for signal in signals if (signal.signal, signal.arm_id) not in known]
        if not new or not decision.query.options.learn:
            return SignalsLearned(())
        for signal in new:
            reward = Reward(Decimal(0), signal.weight)
            self._append(decision, Event(signal.arm_id, reward, signal.signal), received_at)
        return SignalsLearned(tuple(new), self._queued(decision_id))

    def _append(self, decision: Decision, event: Event, received_at: datetime) -> int:
        tenant, store = decision.query.tenant, self.store
        before = store.standing_feedback(decision.decision_id)
        earlier = store.feedback(decision.decision_id)
        scored = {stored.event.arm_id for stored in earlier if stored.event.reward is not None}
        store.n_events += 1
        stored = StoredEvent(store.n_events, event, received_at)
        store.events.setdefault(decision.decision_id, []).append(stored)
        if not decision.query.options.learn:
            return store.n_events
        recorded = RecordedFeedback(
            decided_at=decision.decided_at,
            n_rated=decision.n_rated,
            candidates=orjson.loads(orjson.dumps(explanation(decision)["candidates"])),
            before=before,
            after=before.after(event),
            is_first=event.arm_id not in scored,
            rater=None if decision.query.dialect == "import" else event.rater,
        )
        store.add(tenant, differences(standing_sums(recorded.before), standing_sums(recorded.after)))
        histories = store.histories.setdefault(tenant, {})
        histories.update(folded(histories, recorded))
        if decision.context is not None:
            store.queue[decision.decision_id] = store.n_events
        return store.n_events

    async def conversation_requests(self, tenant: str, session_id: str, limit: int) -> list[str]:
        self.store.check()
        decisions = [
            d
            for d in self.store.decisions.values()
            if (d.query.tenant, d.query.options.session_id) == (tenant, session_id) and d.query.options.learn
        ]
        newest = sorted(decisions, key=lambda d: d.decided_at, reverse=True)
        return [d.query.request_id for d in newest[:limit]]

    async def add_contexts(self, contexts: Mapping[UUID, Vector], encoder: str) -> None:
        self.store.check()
        for decision_id, context in contexts.items():
            decision = self.store.decisions.get(decision_id)
            if decision is None or decision.context is not None:
                continue
            self.store.decisions[decision_id] = replace(decision, context=context, encoder=encoder)
            if decision.query.options.learn and (events := self.store.events.get(decision_id)):
                self.store.queue.setdefault(decision_id, events[-1].event_id)

    async def pending(self, limit: int) -> list[Pending]:
        self.store.check()
        return [self._pending(decision_id) for decision_id in list(self.store.queue)[:limit]]

    async def pending_for(self, decision_ids: Collection[UUID]) -> list[Pending]:
        self.store.check()
        return [self._pending(decision_id) for decision_id in decision_ids if decision_id in self.store.queue]

    async def mark_remembered(self, remembered: Collection[Pending]) -> set[UUID]:
        self.store.check()
        return {pending.decision_id for pending in remembered if not self._is_marked(pending)}

    def _is_marked(self, pending: Pending) -> bool:
        newest = self._pending(pending.decision_id)
        if (newest.event_id, newest.completed_at) != (pending.event_id, pending.completed_at):
            self.store.queue[pending.decision_id] = newest.event_id
            return False
        self.store.queue.pop(pending.decision_id, None)
        return True

    def _queued(self, decision_id: UUID) -> Pending | None:
        return self._pending(decision_id) if decision_id in self.store.queue else None

    def _pending(self, decision_id: UUID) -> Pending:
        decision = self.store.decisions[decision_id]
        event_id = self.store.events[decision_id][-1].event_id
        outcome = self.store.outcomes.get(decision_id)
        completed_at = None if outcome is None else outcome.completed_at
        return Pending(decision_id, decision.query.tenant, event_id, self._experience(decision), completed_at)

    def _experience(self, decision: Decision) -> Experience | None:
        outcome = self.store.outcomes.get(decision.decision_id)
        answered_by = decision.arm_id if outcome is None else outcome.arm_id
        remembered = self.store.standing_feedback(decision.decision_id).remembered(answered_by)
        if remembered is None:
            return None
        arm_id, reward = remembered
        assert decision.encoder is not None
        assert decision.context is not None
        return Experience(
            decision_id=decision.decision_id,
            tenant=decision.query.tenant,
            request_id=decision.query.request_id,
            arm_id=arm_id,
            encoder=decision.encoder,
            context=decision.context,
            reward=float(reward.value),
            weight=float(reward.weight),
            latency_s=0.0 if outcome is None else float(six_places(outcome.latency_s)),
            cost_usd=0.0 if outcome is None else _dollars(outcome.call_cost_usd),
            decided_at=decision.decided_at,
            task=decision.query.options.task,
        )


def _sums(outcome: Outcome) -> ArmSums:
    latency_s, cost_usd = six_places(outcome.latency_s), nine_places_or_zero(outcome.call_cost_usd)
    return outcome_sums(outcome.status, outcome.kind, latency_s, cost_usd, outcome.cost_source)


def _dollars(cost_usd: Decimal | None) -> float | None:
    return None if cost_usd is None else float(nine_places(cost_usd))


def _is_repeated(earlier: Sequence[StoredEvent], feedback: Feedback, reward: Reward | None) -> bool:
    newest = earlier[-1].event if earlier else None
    if newest is None or newest.reward is None or reward is None:
        return reward is None and (newest is None or newest.reward is None)
    before = newest.score, newest.text, newest.session_id
    if before != (feedback.score, feedback.text, feedback.session_id):
        return False
    if feedback.session_id is not None and newest.reward.weight != reward.weight:
        return False
    return feedback.score is not None or newest.reward.value == reward.value


def _learned(
    status: FeedbackStatus,
    decision: Decision,
    arm_id: str,
    event_id: int | None,
    reward: Reward | None,
    pending: Pending | None = None,
) -> Learned:
    return Learned(
        status=status,
        decision_id=decision.decision_id,
        request_id=decision.query.request_id,
        arm_id=arm_id,
        event_id=event_id,
        reward=None if reward is None else float(reward.value),
        pending=pending,
    )


def _attempt(attempt: Attempt) -> Json:
    return {
        "attempt_id": str(attempt.attempt_id),
        "position": attempt.position,
        "model": attempt.arm_id,
        "deployment": attempt.deployment,
        "propensity": attempt.propensity,
        "status": attempt.status,
        "started_at": attempt.started_at.isoformat(),
        **_call(attempt),
        "error_type": attempt.error_type,
        "error_message": storable(attempt.error_message),
        "upstream_status": attempt.upstream_status,
        "notes": [storable(note) for note in attempt.notes],
    }


def _call(call: Attempt | Outcome) -> Json:
    return {
        "latency_s": float(six_places(call.latency_s)),
        "ttft_s": None if call.ttft_s is None else float(six_places(call.ttft_s)),
        "usage": _usage(call.usage),
        "cost_usd": _dollars(call.cost_usd),
        "cost_source": call.cost_source,
        "finish_reason": storable(call.finish_reason),
    }


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "completion_tokens": usage.completion_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "estimated": usage.estimated,
    }


def _event(stored: StoredEvent) -> Json:
    event = stored.event
    return {
        "event_id": stored.event_id,
        "score": event.score,
        "reward": None if event.reward is None else float(event.reward.value),
        "weight": None if event.reward is None else float(event.reward.weight),
        "feedback_text": event.text,
        "session_id": event.session_id,
        "key_id": None if event.rater.key_id is None else str(event.rater.key_id),
        "source": event.rater.source,
        "model": event.arm_id,
        "received_at": stored.received_at.isoformat(),
    }


class FakeForgottenDecisions:
    """A ForgottenDecisions; the memory must remove `store.forgotten`."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.removed: set[UUID] = set()

    async def tombstones(self, limit: int) -> Tombstones:
        self.store.check()
        due = self.store.forgotten - self.removed
        return Tombstones((len(self.store.forgotten),), sorted(due)[:limit])

    async def mark_removed(self, decision_ids: Sequence[UUID]) -> None:
        self.store.check()
        self.removed |= set(decision_ids)

    async def prune(self) -> None:
        self.store.check()
