"""The arms: their names and states, and which of them may answer a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from service.arms.breaker import Breaker
from service.arms.capabilities import lacking, needs
from service.arms.refused_features import RefusedFeatures
from service.arms.requested_names import Meaning, RequestedNames
from service.arms.unknown_prices import with_assumed_prices
from service.domain.arm import Arm
from service.domain.basics import AUTO, plain
from service.domain.context_overflow import ContextOverflow
from service.domain.decision import Rejection
from service.domain.neighbours import NeighbourColumns
from service.domain.query import Query
from service.domain.registration import ArmRegistration, ArmState
from service.domain.tokens import prompt_tokens, tokenizer_of
from service.errors import AllArmsFailed, ContextTooLong, NoEligibleArm, UnknownModel, no_answer
from service.providers.fitting import reason_against as reason_against_body

USUAL_ANSWER_TOKENS = 300  # assumed length of an answer if neither request nor log says
LEAST_ANSWER_TOKENS = 4_096  # for which a window must have room, if the request allows as many


_NOT_ANSWERING: dict[ArmState, str] = {
    "shadow": "is in shadow and does not answer clients yet",
    "retired": "is retired",
}


@dataclass(slots=True)
class Catalog:
    """The arms of this service in their present states, in the operator's order.

    Args:
        arms: those that answer clients, draining ones included.
        aside: those in shadow, and retired ones.
        registrations: what was set at runtime, by arm id.
        required_data_use: promises that the provider of every answer must give.
        refused: what arms turned out to be unable to do.
        names: what requests may call the arms beside their ids and aliases.
    """

    arms: tuple[Arm, ...]
    default_arm_id: str
    breaker: Breaker
    aside: tuple[Arm, ...] = ()
    registrations: Mapping[str, ArmRegistration] = field(default_factory=dict)
    required_data_use: frozenset[str] = frozenset()
    refused: RefusedFeatures = field(default_factory=RefusedFeatures.forgetting)
    names: RequestedNames = field(default_factory=RequestedNames)

    def __post_init__(self) -> None:
        self.put((*self.arms, *self.aside), self.registrations)

    def put(self, arms: Sequence[Arm], registrations: Mapping[str, ArmRegistration]) -> None:
        """Replace all arms and registrations at once."""
        states = {arm.arm_id: _state(registrations, arm) for arm in arms}
        arms = with_assumed_prices(arms, [arm for arm in arms if states[arm.arm_id] != "retired"])
        self.registrations = registrations
        self.arms = tuple(arm for arm in arms if states[arm.arm_id] not in _NOT_ANSWERING)
        self.aside = tuple(arm for arm in arms if states[arm.arm_id] in _NOT_ANSWERING)

    @property
    def unpriced(self) -> tuple[Arm, ...]:
        """The arms in use whose price nobody knows."""
        return tuple(
            arm for arm in (*self.arms, *self.aside) if arm.price is None and self.state(arm) != "retired"
        )

    def state(self, arm: Arm) -> ArmState:
        return _state(self.registrations, arm)

    @property
    def default_state(self) -> ArmState:
        """The state of the default arm: other settings or another replica may take it out of service."""
        registration = self.registrations.get(self.default_arm_id)
        return "active" if registration is None else registration.state

    def newcomers(self, arms: Sequence[Arm]) -> NDArray[np.bool_]:
        """Which of these arms were added after others had been rated, shape (n_arms,)."""
        registrations = [self.registrations.get(arm.arm_id) for arm in arms]
        return np.array([r is not None and r.is_newcomer for r in registrations], dtype=np.bool_)

    def in_todays_prices(self, neighbours: NeighbourColumns, now: datetime) -> NeighbourColumns:
        """The neighbours with their cost at today's prices."""
        if not any(registration.price_changes for registration in self.registrations.values()):
            return neighbours
        billed = zip(
            neighbours.arm.tolist(), neighbours.cost_usd.tolist(), neighbours.age_s.tolist(), strict=True
        )
        dollars = [
            self._todays_usd(neighbours.arm_ids[arm], usd, now - timedelta(seconds=age))
            for arm, usd, age in billed
        ]
        return replace(neighbours, cost_usd=np.array(dollars))

    def _todays_usd(self, arm_id: str, cost_usd: float, decided_at: datetime) -> float:
        registration = self.registrations.get(arm_id)
        return cost_usd if registration is None else registration.todays_usd(cost_usd, decided_at)

    def known(self, name: str, *, param: str = "model") -> Arm:
        """The arm with that id or alias, whatever its state.

        Args:
            param: the field of the request that holds the name.

        Raises:
            UnknownModel: no arm has that name.
        """
        if (arm := self._arm(name)) is None:
            raise self.names.unknown(name, self.arms, param=param)
        return arm

    def _arm(self, name: str) -> Arm | None:
        every_arm = (*self.arms, *self.aside)
        return next((arm for arm in every_arm if name == arm.arm_id or name in arm.aliases), None)

    def find(self, name: str) -> Arm:
        """The arm with that id or alias, if it answers clients.

        Raises:
            UnknownModel: there is none, or it is in shadow or retired.
        """
        arm = self.known(name)
        if (why := _NOT_ANSWERING.get(self.state(arm))) is not None:
            raise UnknownModel(f"model {name!r} {why}", param="model")
        return arm

    def meaning(self, name: str) -> Meaning:
        """What the name of a model in a request stands for.

        Raises:
            UnknownModel: nothing, or one arm that does not answer clients.
        """
        if name in AUTO:
            return Meaning()
        if self._arm(name) is not None:
            return Meaning(frozenset({self.find(name).arm_id}))
        meaning = self.names.meaning(name, self.arms)
        if meaning.arm_ids is not None and len(meaning.arm_ids) == 1:
            self.find(*meaning.arm_ids)
        return meaning

    def one_arm(self, name: str | None) -> Arm | None:
        """The one arm that a name stands for; None: the router chooses. Raises UnknownModel."""
        meant = None if name is None else self.meaning(name).arm_ids
        return self.find(*meant) if meant is not None and len(meant) == 1 else None

    def resolved(self, query: Query) -> Query:
        """The query with the arm, or the arms, that its name of a model stands for. Raises UnknownModel."""
        if (name := query.requested_model) is None:
            return query
        meaning = self.meaning(name)
        if meaning.arm_ids is None:
            substituted = name if meaning.is_substitute else None
            return replace(query, requested_model=None, substituted_model=substituted)
        if len(meaning.arm_ids) == 1:
            (arm_id,) = meaning.arm_ids
            return query if self._arm(name) is not None else replace(query, requested_model=arm_id)
        return replace(query, requested_model=None, requested_among=meaning.arm_ids)

    def eligible(self, query: Query, loop_arm_id: str | None = None) -> tuple[list[Arm], list[Rejection]]:
        """The arms that may answer, and why the others may not.

        An arm that has lately refused a feature of the query may answer only if no other can.

        Args:
            loop_arm_id: the arm of a tool loop; it may answer even if it is cooling down or draining.

        Raises:
            UnknownModel: the client names an arm that does not exist.
            ContextTooLong: the prompt is longer than the window of every requested arm.
            NoEligibleArm: no arm is left; the message says why for each.
            AllArmsFailed: every arm that could answer is cooling down. An arm that alone could answer is
                refused only while its provider asks to wait.
        """
        arms = self._asked_for(query)
        reasons = self._reasons(arms, query, loop_arm_id)
        rejected = [Rejection(arm_id, reason) for arm_id, reason in reasons.items() if reason is not None]
        able = [arm for arm in arms if reasons[arm.arm_id] is None]
        if not able:
            raise self._none_eligible(arms, rejected, query)
        if len(able) == 1 and not self.breaker.asks_to_wait(able[0]):
            return able, rejected  # nothing else could answer: to call it is better than to refuse
        cooling_down = [
            Rejection(arm.arm_id, why)
            for arm in able
            if arm.arm_id != loop_arm_id and (why := self.breaker.open_reason(arm))
        ]
        if len(cooling_down) == len(able):
            raise self.too_long(query) or self._all_cooling_down(able, cooling_down)
        unavailable = {rejection.arm_id for rejection in cooling_down}
        available = [arm for arm in able if arm.arm_id not in unavailable]
        willing, unwilling = self._by_willingness(available, query)
        return willing, [*rejected, *cooling_down, *unwilling]

    def _by_willingness(self, arms: Sequence[Arm], query: Query) -> tuple[list[Arm], list[Rejection]]:
        """The arms that have refused no feature of the query, and the others; all arms if none is left."""
        refused = self.refused.against(arms, query)
        if len(refused) == len(arms):
            return list(arms), []
        unwilling = [Rejection(arm_id, feature.reason) for arm_id, feature in refused.items()]
        return [arm for arm in arms if arm.arm_id not in refused], unwilling

    def has_no_alternative(self, query: Query) -> bool:
        """Whether only one arm could answer, whether or not it is cooling down."""
        reasons = self._reasons(self._asked_for(query), query, None)
        return sum(reason is None for reason in reasons.values()) <= 1

    def _asked_for(self, query: Query) -> list[Arm]:
        requested = query.requested_model
        return [*self.arms, *self.aside] if requested is None else [self.find(requested)]

    def _reasons(self, arms: Sequence[Arm], query: Query, loop_arm_id: str | None) -> dict[str, str | None]:
        """Why each arm may not answer, cooling down aside; None: it may."""
        is_named, demands = query.requested_model is not None, self._demands(query)
        return {
            arm.arm_id: self._state_against(arm, is_named or arm.arm_id == loop_arm_id)
            or _reason_against(arm, demands)
            for arm in arms
        }

    def too_long(self, query: Query) -> ContextTooLong | None:
        """The error if an arm could answer a shorter prompt now; None: there is none."""
        arms = [arm for arm in self._too_small(query) if self.breaker.open_reason(arm) is None]
        return _too_long(arms, query) if arms else None

    def _too_small(self, query: Query) -> list[Arm]:
        """The arms that could answer a shorter prompt, cooling down or not."""
        demands, is_named = self._demands(query), query.requested_model is not None
        return [
            arm
            for arm in self._asked_for(query)
            if self._state_against(arm, is_named) is None
            and not fits(arm, query)
            and _reason_but_size(arm, demands) is None
        ]

    def _none_eligible(
        self, arms: Sequence[Arm], rejected: Sequence[Rejection], query: Query
    ) -> NoEligibleArm | ContextTooLong:
        too_small = self._too_small(query)
        if too_small or (arms and not any(fits(arm, query) for arm in arms)):
            return _too_long(too_small or arms, query)
        reasons = "; ".join(f"{r.arm_id}: {r.reason}" for r in rejected)
        return NoEligibleArm(f"no model can answer this request: {reasons}")

    def shadows(self, query: Query) -> list[Arm]:
        """The arms in shadow that could answer the query."""
        shadows = [arm for arm in self.aside if self.state(arm) == "shadow"]
        demands = self._demands(query)
        able = [arm for arm in shadows if _reason_against(arm, demands) is None]
        refused = self.refused.against(able, query)
        return [arm for arm in able if arm.arm_id not in refused and self.breaker.open_reason(arm) is None]

    def _all_cooling_down(self, arms: Sequence[Arm], cooling_down: Sequence[Rejection]) -> AllArmsFailed:
        reasons = {rejection.arm_id: rejection.reason for rejection in cooling_down}
        first_back = sorted(arms, key=self.breaker.reopens_in_s)
        why = "; ".join(f"{arm.arm_id}: {reasons[arm.arm_id]}" for arm in first_back)
        return no_answer(
            [self.breaker.open_cause(arm) for arm in arms],
            f"every model that could answer is cooling down: {why}",
            retry_after_s=self.breaker.reopens_in_s(first_back[0]),
            cooling_down={arm.arm_id: reasons[arm.arm_id] for arm in first_back},
        )

    def _demands(self, query: Query) -> _Demands:
        models = query.options.models
        return _Demands(
            query=query,
            allowed=None if models is None else self._ids(models, "router.models"),
            excluded=self._ids(query.options.exclude, "router.exclude"),
            abilities=needs(query.body),
            data_use=self.required_data_use | query.options.require_data_use,
        )

    def _ids(self, names: Iterable[str], param: str) -> frozenset[str]:
        return frozenset(arm_id for name in names for arm_id in self._ids_of(name, param))

    def _ids_of(self, name: str, param: str) -> Iterable[str]:
        """The arms that a name in an option stands for, whatever their state."""
        if (arm := self._arm(name)) is not None:
            return (arm.arm_id,)
        ids = self.names.meaning(name, self.arms, param=param).arm_ids
        return (arm.arm_id for arm in (*self.arms, *self.aside)) if ids is None else ids

    def _state_against(self, arm: Arm, is_wanted: bool) -> str | None:
        state = self.state(arm)
        if state == "draining" and not is_wanted:
            return "is draining"
        return _NOT_ANSWERING.get(state)

    def reason_against(self, arm: Arm, query: Query) -> str | None:
        """Why the arm may not answer the query, whatever its state; None: it may. Raises UnknownModel."""
        return _reason_against(arm, self._demands(query))


@dataclass(frozen=True, slots=True)
class _Demands:
    """The demands of a query on the arm that answers it, read once for all arms.

    Args:
        allowed: ids of the allowed arms; None: all.
        abilities: capabilities that its body needs.
        data_use: promises that the arm's provider must give.
    """

    query: Query
    allowed: frozenset[str] | None
    excluded: frozenset[str]
    abilities: frozenset[str]
    data_use: frozenset[str]


def _reason_against(arm: Arm, demands: _Demands) -> str | None:
    return _reason_of_options(arm, demands) or (
        _reason_of_size(arm, demands.query)
        or _reason_of_ability(arm, demands.query, demands.abilities)
        or _reason_of_cost(arm, demands.query)
    )


def _reason_but_size(arm: Arm, demands: _Demands) -> str | None:
    """Why the arm may not answer, the length of the prompt aside."""
    return _reason_of_options(arm, demands) or _reason_of_ability(arm, demands.query, demands.abilities)


def _reason_of_options(arm: Arm, demands: _Demands) -> str | None:
    among = demands.query.requested_among
    if among is not None and arm.arm_id not in among:
        return "not among the models that the requested name stands for"
    if demands.allowed is not None and arm.arm_id not in demands.allowed:
        return "not among router.models"
    if arm.arm_id in demands.excluded:
        return "among router.exclude"
    if unpromised := demands.data_use - arm.data_use:
        return f"its provider does not promise {', '.join(sorted(unpromised))}"
    return None


def _reason_of_size(arm: Arm, query: Query) -> str | None:
    if fits(arm, query):
        return None
    n_prompt = prompt_tokens(arm, query)
    about = "" if tokenizer_of(arm) in query.counts else "about "
    wanted = f" with an answer of {n_least}" if (n_least := _least_answer(arm, query)) else ""
    return f"prompt of {about}{n_prompt} tokens{wanted} exceeds its window of {arm.context_window}"


def _reason_of_ability(arm: Arm, query: Query, needed: frozenset[str]) -> str | None:
    if query.native is not None and query.native.needs and arm.provider != query.dialect:
        return f"only {query.dialect} models can do {', '.join(query.native.needs)}"
    missing = lacking(arm, needed)
    if missing:
        return f"cannot do {', '.join(sorted(missing))}"
    return reason_against_body(arm, query.body, query.native)


def _reason_of_cost(arm: Arm, query: Query) -> str | None:
    max_cost_usd = query.options.max_cost_usd
    if max_cost_usd is None:
        return None
    if arm.price is None:
        return "its price is not known, so it may exceed max_cost_usd"
    if (expected := list_cost_usd(arm, query)) <= max_cost_usd:
        return None
    return f"expected cost of {plain(expected)} USD exceeds max_cost_usd {plain(max_cost_usd)}"


def _state(registrations: Mapping[str, ArmRegistration], arm: Arm) -> ArmState:
    registration = registrations.get(arm.arm_id)
    return "active" if registration is None else registration.state


def fits(arm: Arm, query: Query) -> bool:
    """Whether the prompt fits the arm's context window, and an answer of some length after it."""
    if arm.context_window is None:
        return True
    return prompt_tokens(arm, query) + _least_answer(arm, query) <= arm.context_window


def limited(arm: Arm, query: Query) -> Arm:
    """The arm with the longest answer that it can give to this query, to which `max_tokens` is clamped."""
    if arm.context_window is None or query.max_output_tokens is None:
        return arm
    n_prompt = prompt_tokens(arm, query)
    if tokenizer_of(arm) not in query.counts:
        n_prompt = n_prompt * 5 // 4  # an estimate, which is seldom too low by more
    n_left = arm.context_window - n_prompt
    if n_left >= query.max_output_tokens:
        return arm
    n_most = max(n_left, _least_answer(arm, query))
    return replace(arm, max_output_tokens=min(n_most, arm.max_output_tokens or n_most))


def _least_answer(arm: Arm, query: Query) -> int:
    """Tokens that must be left in the window for the answer: `max_tokens` is a limit and no wish."""
    limits = [query.max_output_tokens or 0, LEAST_ANSWER_TOKENS]
    limits += [limit for limit in (arm.max_output_tokens, (arm.context_window or 0) // 4) if limit]
    return min(limits)


def list_cost_usd(arm: Arm, query: Query, answer_tokens: int = USUAL_ANSWER_TOKENS) -> Decimal:
    """Expected cost of the query at the arm's prices, or at those assumed for it, US dollars."""
    n_output = min(answer_tokens, query.max_output_tokens or answer_tokens) * (query.body.get("n") or 1)
    price = arm.expected_price
    return (query.n_prompt_tokens * price.input + n_output * price.output) / 1_000_000


def _too_long(arms: Sequence[Arm], query: Query) -> ContextTooLong:
    """The error of a prompt that is too long for these arms: in the words by which clients know it."""
    largest = max(arms, key=lambda arm: arm.context_window or 0)
    n_tokens, window = prompt_tokens(largest, query), largest.context_window or 0
    if n_tokens <= window:
        n_tokens += _least_answer(largest, query)
    reasons = "; ".join(f"{arm.arm_id}: {_reason_of_size(arm, query)}" for arm in arms)
    detail = f"it exceeds the context window of every model that could answer: {reasons}"
    return ContextTooLong(ContextOverflow(n_tokens, window, detail).in_openais_words, param="messages")
