"""The run of one request: its decision, and the calls made for it so far."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from service.arms.eligibility import limited
from service.completion.decision_write import DecisionWrite
from service.completion.model_call import ModelCall
from service.completion.refusal import Refusal
from service.conversations.answer_names import names_of_messages
from service.conversations.portability import safe_history, vendor_of
from service.domain.answer import Attempt, Usage
from service.domain.arm import Arm
from service.domain.basics import AttemptStatus, DecisionKind, Json
from service.domain.candidates import CandidateColumns
from service.domain.conversation import ConversationState, ConversationStep
from service.domain.decision import Decision, LoggedDecision
from service.domain.query import Native, Query
from service.domain.quoted_input import without_texts_of
from service.domain.usage import cost_of
from service.domain.weakness import Weakness
from service.errors import LimitReached, ProviderError, ProviderTimeout
from service.meter.meter import Hold


@dataclass(slots=True)
class RequestRun:
    """The decision for one query, the calls made for it, and the arms not tried yet."""

    query: Query
    decision_id: UUID
    arm_id: str
    propensity: float
    kind: DecisionKind
    decision: Decision | None  # None: a retry of a logged decision
    probabilities: dict[str, float]
    position: int  # of the next call, over all runs of this decision
    degraded: list[str]
    step: ConversationStep | None = None
    reserved_usd: float = 0.0  # from the budget's purse, until the run is settled
    logging: DecisionWrite | None = None
    is_lost: bool = False  # its decision could not be logged, so its outcome cannot be either
    attempts: list[Attempt] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)  # arms drawn but not called, and why
    refusals: list[Refusal] = field(default_factory=list)
    fell_short: dict[str, Weakness] = field(
        default_factory=dict
    )  # arms whose answers were faulty, and the fault
    stripped_thinking: set[str] = field(default_factory=set)  # arms that rejected earlier thinking
    left_out: dict[str, frozenset[str]] = field(default_factory=dict)  # by arm: fields that it refuses
    last: ModelCall | None = None
    hold: Hold | None = (
        None  # of the limits of its caller and arms, until it is settled; None: there are none
    )
    over_limit: LimitReached | None = None  # why arms were passed over that their limits leave too little for

    @classmethod
    def of(cls, decision: Decision) -> RequestRun:
        weighed = CandidateColumns.of(decision.candidates)
        expected_usd = dict(zip(weighed.arm_ids, weighed.column("expected_cost_usd").tolist(), strict=True))
        return cls(
            query=decision.query,
            decision_id=decision.decision_id,
            arm_id=decision.arm_id,
            propensity=decision.propensity,
            kind=decision.kind,
            decision=decision,
            probabilities=dict(zip(weighed.arm_ids, weighed.column("probability").tolist(), strict=True)),
            position=0,
            degraded=list(decision.degraded),
            step=decision.step,
            reserved_usd=expected_usd.get(decision.arm_id, 0.0),
        )

    @classmethod
    def retry(cls, query: Query, logged: LoggedDecision) -> RequestRun:
        return cls(
            query=query,
            decision_id=logged.decision_id,
            arm_id=logged.arm_id,
            propensity=logged.propensity,
            kind=logged.kind,
            decision=None,
            probabilities=dict(logged.probabilities),
            position=logged.n_attempts,
            degraded=[],
            step=logged.step,
        )

    @property
    def is_just_decided(self) -> bool:
        """Whether nothing was tried since the decision, which has found that its arms can be called."""
        return self.decision is not None and not (self.attempts or self.refusals or self.passed_over)

    @property
    def untried(self) -> set[str]:
        """The weighed arms that have neither failed nor been passed over."""
        return self.probabilities.keys() - self.tried

    @property
    def tried(self) -> set[str]:
        """The arms that failed, refused the request or were passed over."""
        failed = {attempt.arm_id for attempt in self.attempts if attempt.status == "failed"}
        return failed | self.refusing | self.passed_over.keys()

    def failed_at(self, arm_id: str) -> set[str | None]:
        """The deployments of an arm at which calls failed."""
        return {a.deployment for a in self.attempts if a.arm_id == arm_id and a.status == "failed"}

    @property
    def refusing(self) -> set[str]:
        """The arms that refused the request."""
        return {refusal.arm_id for refusal in self.refusals}

    @property
    def has_no_choice(self) -> bool:
        """Whether one arm was left to answer: the client named it, or the others cannot or may not now."""
        return len(self.probabilities) == 1

    @property
    def cost_usd(self) -> Decimal | None:
        """Cost of all calls and of the tags, US dollars; None: nobody knows that of one."""
        total = Decimal(0)
        for tag in () if self.decision is None else self.decision.tags:
            if tag.cost_usd is None:
                return None
            total += tag.cost_usd
        for attempt in self.attempts:
            if attempt.cost_usd is None:
                return None
            total += attempt.cost_usd
        return total

    @property
    def answering_arm_id(self) -> str:
        return self.arm_id if self.last is None else self.last.arm.arm_id

    @property
    def answered_kind(self) -> DecisionKind:
        if self.last is None or self.answering_arm_id == self.arm_id:
            return self.kind
        return "escalated" if self.last.is_escalation else "fallback"

    @property
    def is_in_tool_loop(self) -> bool:
        """Whether the decided arm is in a tool loop: it is called even while it is cooling down."""
        return (
            self.query.turn.in_tool_loop
            and self.step is not None
            and self.step.previous_arm_id == self.arm_id
        )

    def n_messages_of_other_vendors(self, arm: Arm) -> int:
        """How many of the first messages may contain thinking that this arm would reject."""
        if arm.arm_id in self.stripped_thinking:
            return self.query.n_messages
        if self.step is None:
            is_first = self.query.turn.side_call is None and arm.arm_id == self.arm_id
            return 0 if is_first else self.query.n_messages
        return (
            self.step.n_messages_of_other_vendors
            if vendor_of(arm) == self.step.vendor
            else self.query.n_messages
        )

    def arm_to_call(self, arm: Arm) -> Arm:
        """The arm with what this request may ask of it."""
        arm = self._with_callers_key(limited(arm, self.query))
        left_out = self.left_out.get(arm.arm_id)
        return arm if left_out is None else replace(arm, drop=arm.drop | left_out)

    def _with_callers_key(self, arm: Arm) -> Arm:
        """The arm with the caller's own key; a bearer token stays one if it came in the arm's own dialect."""
        key = self.query.credential
        if not arm.takes_client_key or key is None:
            return arm
        return replace(arm, key=replace(key, is_bearer=key.is_bearer and self.query.native is not None))

    def request_for(self, arm: Arm) -> tuple[Json, Native | None]:
        """The request body that the arm's vendor accepts, and the native one if there is one."""
        native, n_messages = self.query.native, self.n_messages_of_other_vendors(arm)
        if native is not None:
            native = replace(native, body=safe_history(native.body, arm, n_messages))
        return safe_history(self.query.body, arm, n_messages), native

    def conversation_after(self, now: datetime) -> ConversationState | None:
        """The conversation's state after the answer if it has to be written, else None.

        The decision has written the state of a conversation with a session id: it is None unless the answer
        moved it.
        """
        if self.step is None or self.last is None or not self.attempts:
            return None
        if not self.query.turn.moves_conversation:
            return None
        if self.query.turn.key is not None and not self._has_moved:
            return None
        return ConversationState(
            arm_id=self.answering_arm_id,
            vendor=vendor_of(self.last.arm),
            n_messages_of_other_vendors=self.n_messages_of_other_vendors(self.last.arm),
            turns=self.step.turn,
            holdout=self.step.holdout,
            decision_id=self.decision_id,
            updated_at=now,
        )

    @property
    def _has_moved(self) -> bool:
        is_another_arm = self.answering_arm_id != self.arm_id or self.arm_id in self.stripped_thinking
        return is_another_arm and self.attempts[-1].status == "ok"

    def answer_names(self, status: AttemptStatus) -> tuple[bytes, ...]:
        """The names that the answer gives to a conversation without a session id."""
        turn = self.query.turn
        if self.step is None or self.last is None or turn.key is not None or not turn.moves_conversation:
            return ()
        return names_of_messages(self.query, self.last.messages, is_cut=status != "ok")

    def adopt(self, other: RequestRun) -> None:
        """Take over the calls of a run whose decision was committed second under the same request id."""
        for attempt in other.attempts:
            self.attempts.append(replace(attempt, decision_id=self.decision_id, position=self.position))
            self.position += 1
        self.last = other.last
        self.reserved_usd += other.reserved_usd
        self.hold = other.hold

    def escalate(self, decision: Decision) -> None:
        """Go on with the arms of a stronger tier, as a further decision weighed them."""
        self.query = decision.query
        self.probabilities = {c.arm_id: c.probability for c in decision.candidates}

    def call(self, arm: Arm, propensity: float, now: datetime) -> ModelCall:
        self.last = ModelCall(self.query, arm, propensity, started_at=now)
        return self.last

    def finished(self, call: ModelCall, now: datetime) -> None:
        self._record(call, "ok", now, call.counted())

    def failed(self, call: ModelCall, error: ProviderError, now: datetime) -> None:
        """Providers bill what a model read and wrote, also if its answer stopped or came too late."""
        has_begun = isinstance(error, ProviderTimeout) and error.has_begun
        is_billed = has_begun or call.is_whole or call.ttft_s is not None or call.usage is not None
        spent = call.counted() if is_billed else Usage()
        self._record(call, "failed", now, spent, error)

    def cancelled(self, call: ModelCall, now: datetime) -> None:
        """The client disconnected; the provider bills the prompt and the tokens written so far."""
        self._record(call, "cancelled", now, call.counted())

    def _record(
        self,
        call: ModelCall,
        status: AttemptStatus,
        now: datetime,
        usage: Usage,
        error: ProviderError | None = None,
    ) -> None:
        """Record the result of a call, replacing any earlier record of the same call."""
        before, cost = self.attempt_of(call), cost_of(usage, call.arm.price)
        attempt = Attempt(
            attempt_id=call.attempt_id,
            decision_id=self.decision_id,
            position=self.position if before is None else before.position,
            arm_id=call.arm.arm_id,
            propensity=call.propensity,
            status=status,
            started_at=call.started_at,
            # The wall clock may have been set back meanwhile.
            latency_s=max(0.0, ((call.answered_at or now) - call.started_at).total_seconds()),
            ttft_s=call.ttft_s,
            usage=usage,
            cost_usd=cost.usd,
            cost_source=cost.source,
            finish_reason=call.finish_reason,
            error_type=None if error is None else type(error).__name__,
            error_message=None if error is None else self._storable_message(call, error),
            upstream_status=None if error is None else error.status,
            notes=(*self.query.notes, *call.notes),
            deployment=call.arm.deployment,
        )
        if before is None:
            self.attempts.append(attempt)
            self.position += 1
        else:
            self.attempts[self.attempts.index(before)] = attempt

    def _storable_message(self, call: ModelCall, error: ProviderError) -> str:
        """The message without what it quotes of the request or of the answer."""
        received = self.query.body if self.query.native is None else self.query.native.body
        return without_texts_of([self.query.body, received, call.text], str(error))[:500]

    def attempt_of(self, call: ModelCall) -> Attempt | None:
        for attempt in self.attempts:
            if attempt.attempt_id == call.attempt_id:
                return attempt
        return None
