"""The arms: which there are, under which names, and which of them may answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from service.breaker import Breaker
from service.errors import AllArmsFailed, ContextTooLong, NoEligibleArm, UnknownModel
from service.types import Arm, Json, Query, Rejection

USUAL_ANSWER_TOKENS = 300  # where neither the request nor the log tells how long an answer gets


@dataclass(frozen=True, slots=True)
class Catalog:
    """The arms of this service, in the operator's order."""

    arms: tuple[Arm, ...]
    default_arm_id: str
    breaker: Breaker

    def find(self, name: str, *, param: str = "model") -> Arm:
        """The arm with that id or alias.

        Args:
            param: the field of the request that holds the name.

        Raises:
            UnknownModel: there is none.
        """
        for arm in self.arms:
            if name == arm.arm_id or name in arm.aliases:
                return arm
        known = ", ".join(["auto", *(arm.arm_id for arm in self.arms)])
        raise UnknownModel(f"model {name!r} does not exist; there are: {known}", param=param)

    def eligible(self, query: Query) -> tuple[list[Arm], list[Rejection]]:
        """The arms that may answer, and why the others may not.

        Raises:
            UnknownModel: the caller names an arm that does not exist.
            ContextTooLong: the prompt is longer than the window of every arm asked for.
            NoEligibleArm: no arm is left; the message says why for each.
            AllArmsFailed: those that are left all rest after failures.
        """
        arms = list(self.arms) if query.requested_model is None else [self.find(query.requested_model)]
        allowed = self._allowed(query)
        reasons = {arm.arm_id: self._reason_against(arm, query, allowed) for arm in arms}
        rejected = [Rejection(arm_id, reason) for arm_id, reason in reasons.items() if reason is not None]
        able = [arm for arm in arms if reasons[arm.arm_id] is None]
        if not able:
            raise _nothing_left(arms, rejected, query)
        rests = [Rejection(arm.arm_id, why) for arm in able if (why := self.breaker.is_resting(arm))]
        if len(rests) == len(able):
            why = "; ".join(f"{rest.arm_id}: {rest.reason}" for rest in rests)
            wait_s = min(self.breaker.rests_for_s(arm) for arm in able)
            raise AllArmsFailed(f"every model that could answer is resting: {why}", retry_after_s=wait_s)
        resting = {rest.arm_id for rest in rests}
        return [arm for arm in able if arm.arm_id not in resting], [*rejected, *rests]

    def _allowed(self, query: Query) -> frozenset[str] | None:
        if query.options.models is None:
            return None
        return frozenset(self.find(name, param="router.models").arm_id for name in query.options.models)

    def _reason_against(self, arm: Arm, query: Query, allowed: frozenset[str] | None) -> str | None:
        if allowed is not None and arm.arm_id not in allowed:
            return "not among router.models"
        if not fits(arm, query):
            wanted = f" with an answer of {query.max_output_tokens}" if query.max_output_tokens else ""
            prompt = f"prompt of about {query.n_prompt_tokens} tokens{wanted}"
            return f"{prompt} exceeds its window of {arm.context_window}"
        if query.native is not None and query.native.needs and arm.provider != query.dialect:
            return f"only {query.dialect} models can do {', '.join(query.native.needs)}"
        missing = needs(query.body) - arm.capabilities if arm.capabilities else frozenset[str]()
        if missing:
            return f"cannot do {', '.join(sorted(missing))}"
        dearest = query.options.max_cost_usd
        if dearest is not None and (expected := list_cost_usd(arm, query)) > dearest:
            return f"expected cost of {expected:.6f} USD exceeds max_cost_usd {dearest}"
        return None


def fits(arm: Arm, query: Query) -> bool:
    """Whether the prompt, and the answer asked for, fit the arm's context window."""
    if arm.context_window is None:
        return True
    return query.n_prompt_tokens + (query.max_output_tokens or 0) <= arm.context_window


def list_cost_usd(arm: Arm, query: Query, answer_tokens: int = USUAL_ANSWER_TOKENS) -> Decimal:
    """What the query would cost by the price list, US dollars."""
    n_output = min(answer_tokens, query.max_output_tokens or answer_tokens) * (query.body.get("n") or 1)
    return (query.n_prompt_tokens * arm.price.input + n_output * arm.price.output) / 1_000_000


def needs(body: Json) -> frozenset[str]:
    """The capabilities that a request asks for."""
    needed = set()
    if body.get("tools") or body.get("functions"):
        needed.add("tools")
    if (body.get("response_format") or {}).get("type") == "json_schema":
        needed.add("json_schema")
    part_needs = {"image_url": "vision", "input_audio": "audio", "file": "files"}
    for message in body["messages"]:
        content = message.get("content")
        if isinstance(content, list):
            needed |= {need for p in content if (need := part_needs.get(str(p.get("type"))))}
    return frozenset(needed)


def _nothing_left(
    arms: Sequence[Arm], rejected: Sequence[Rejection], query: Query
) -> NoEligibleArm | ContextTooLong:
    reasons = "; ".join(f"{r.arm_id}: {r.reason}" for r in rejected)
    if not any(fits(arm, query) for arm in arms):
        return ContextTooLong(f"messages are too long: {reasons}", param="messages")
    return NoEligibleArm(f"no model can answer this request: {reasons}")
