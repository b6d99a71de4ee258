"""The arms: their names and states, and which of them may answer a query now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from service.arms.breaker import Breaker
from service.arms.call_keys import NoLogins, without_key
from service.arms.capabilities import needs
from service.arms.eligibility import Demands, fits, is_allowed, reason_against, reason_but_size, too_long
from service.arms.fallback_order import FallbackOrder
from service.arms.load_balancer import LoadBalancer
from service.arms.overriding import Overriding
from service.arms.refused_features import RefusedFeatures
from service.arms.requested_names import Meaning, RequestedNames
from service.arms.unknown_prices import with_assumed_prices
from service.domain.arm import Arm
from service.domain.basics import AUTO
from service.domain.decision import Rejection
from service.domain.neighbours import NeighbourColumns
from service.domain.oauth import Logins
from service.domain.query import Query
from service.domain.registration import ArmRegistration, ArmState
from service.errors import AllArmsFailed, ContextTooLong, NoEligibleArm, UnknownModel, no_answer

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
        overriding: what replaces the names in requests.
        logins: which providers are logged in to.
        fallback_order: the operator's.
    """

    arms: tuple[Arm, ...]
    default_arm_id: str
    breaker: Breaker
    aside: tuple[Arm, ...] = ()
    registrations: Mapping[str, ArmRegistration] = field(default_factory=dict)
    required_data_use: frozenset[str] = frozenset()
    refused: RefusedFeatures = field(default_factory=RefusedFeatures.forgetting)
    names: RequestedNames = field(default_factory=RequestedNames)
    overriding: Overriding = field(default_factory=Overriding)
    logins: Logins = field(default_factory=NoLogins)
    fallback_order: FallbackOrder = field(default_factory=FallbackOrder)
    balancer: LoadBalancer = field(init=False)
    takes_client_keys: bool = field(init=False)  # whether an arm in use takes the caller's own key
    _in_use: dict[str, Arm] = field(init=False)  # `arms` by id
    _named: dict[str, Arm] = field(init=False)  # all arms by id and alias
    _all_have_keys: bool = field(init=False)

    def __post_init__(self) -> None:
        self.balancer = LoadBalancer(self.breaker)
        self.put((*self.arms, *self.aside), self.registrations)

    def put(self, arms: Sequence[Arm], registrations: Mapping[str, ArmRegistration]) -> None:
        """Replace all arms and registrations at once."""
        states = {arm.arm_id: _state(registrations, arm) for arm in arms}
        arms = with_assumed_prices(arms, [arm for arm in arms if states[arm.arm_id] != "retired"])
        self.registrations = registrations
        self.arms = tuple(arm for arm in arms if states[arm.arm_id] not in _NOT_ANSWERING)
        self.aside = tuple(arm for arm in arms if states[arm.arm_id] in _NOT_ANSWERING)
        every_arm = (*self.arms, *self.aside)  # the first counts if two have a name
        self.takes_client_keys = any(arm.takes_client_key for arm in self.arms)
        self._in_use = {arm.arm_id: arm for arm in self.arms}
        self._named = {name: arm for arm in reversed(every_arm) for name in (arm.arm_id, *arm.aliases)}
        self._all_have_keys = all(arm.has_standing_key for arm in every_arm)

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
        if (arm := self._named.get(name)) is None:
            raise self.names.unknown(name, self.arms, param=param, is_choice=False)
        return arm

    def in_use(self, arm_id: str) -> Arm | None:
        """The arm with exactly this id; None: it is none of `arms`, or has left them since the decision."""
        return self._in_use.get(arm_id)

    def find(self, name: str) -> Arm:
        """The arm with that id or alias, if it answers clients.

        Raises:
            UnknownModel: there is none, or it is in shadow or retired.
        """
        if (arm := self._named.get(name)) is None:
            raise self.names.unknown(name, self.arms, param="model")
        if (why := _NOT_ANSWERING.get(self.state(arm))) is not None:
            raise UnknownModel(f"model {name!r} {why}", param="model")
        return arm

    def meaning(self, name: str) -> Meaning:
        """What the name of a model in a request stands for.

        Raises:
            UnknownModel: nothing, or one arm that does not answer clients.
        """
        return self._meaning(self.overriding.mapped(name), "model")

    def _meaning(self, name: str, param: str) -> Meaning:
        """What a name stands for that nothing replaces any more."""
        if name in AUTO:
            return Meaning()
        if self._named.get(name) is not None:
            return Meaning(frozenset({self.find(name).arm_id}))
        if (tier := self.overriding.tiers.get(name)) is not None:
            return Meaning(tier, tier=name)
        meaning = self.names.meaning(name, self.arms, param=param)
        if meaning.arm_ids is not None and len(meaning.arm_ids) == 1:
            self.find(*meaning.arm_ids)
        return meaning

    def one_arm(self, name: str | None) -> Arm | None:
        """The one arm that a name stands for; None: the router chooses. Raises UnknownModel."""
        meant = None if name is None else self.meaning(name).arm_ids
        return self.find(*meant) if meant is not None and len(meant) == 1 else None

    def resolved(self, query: Query) -> Query:
        """The query with the arm, or the arms, that its name of a model stands for.

        The request's headers replace the name first, then the operator's settings.

        Raises:
            UnknownModel: the name stands for nothing.
            BadRequest: a header names a provider or experts that do not exist.
        """
        wanted = self.overriding.wanted(query)
        if (wanted.name, wanted.by) != (query.requested_model, query.overridden_by):
            query = replace(query, requested_model=wanted.name, overridden_by=wanted.by)
        if wanted.name is not None:
            query = self._as_meant(query, wanted.name, self._meaning(wanted.name, wanted.param))
        forced = self.overriding.backend_arms(query, self.arms)
        return query if forced is None else self._on_backend(query, *forced)

    def _on_backend(self, query: Query, backend: str, arm_ids: frozenset[str]) -> Query:
        """The query for the arms of one provider: those that its name stands for, else any of them."""
        query = replace(query, backend=backend, overridden_by=(*query.overridden_by, "force_backend"))
        named, among = query.requested_model, query.requested_among
        if named is not None:
            is_there = self.find(named).arm_id in arm_ids
            return query if is_there else replace(query, requested_model=None, requested_among=arm_ids)
        return replace(query, requested_among=arm_ids if among is None else (among & arm_ids or arm_ids))

    def _as_meant(self, query: Query, name: str, meaning: Meaning) -> Query:
        if meaning.arm_ids is None:
            substituted = name if meaning.is_substitute else None
            return replace(query, requested_model=None, substituted_model=substituted)
        if len(meaning.arm_ids) == 1 and meaning.tier is None:
            (arm_id,) = meaning.arm_ids
            return query if self._named.get(name) is not None else replace(query, requested_model=arm_id)
        return replace(
            query, requested_model=None, requested_among=meaning.arm_ids, requested_tier=meaning.tier
        )

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
        if len(able) == 1 and (not self.breaker.asks_to_wait(able[0]) or self._is_replaced(able[0], query)):
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

    def _is_replaced(self, arm: Arm, query: Query) -> bool:
        """Whether the operator lists an arm that can be called in place of the one that the client named."""
        order = self.fallback_order.after(arm.arm_id)
        if not order or query.requested_model is None:
            return False
        listed = [a for a in self.arms if a.arm_id in order and self.may_replace(a.arm_id)]
        return any(not self.breaker.open_reason(a) and not self.reason_against(a, query) for a in listed)

    def may_replace(self, arm_id: str) -> bool:
        """Whether the arm may answer for another one that the client named."""
        arm = self.in_use(arm_id)
        return arm is not None and self.state(arm) == "active" and not arm.takes_client_key

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
            or reason_against(arm, demands)
            for arm in arms
        }

    def too_long(self, query: Query) -> ContextTooLong | None:
        """The error if an arm could answer a shorter prompt now; None: there is none."""
        arms = [arm for arm in self._too_small(query) if self.breaker.open_reason(arm) is None]
        return too_long(arms, query) if arms else None

    def _too_small(self, query: Query) -> list[Arm]:
        """The arms that could answer a shorter prompt, cooling down or not."""
        demands, is_named = self._demands(query), query.requested_model is not None
        return [
            arm
            for arm in self._asked_for(query)
            if self._state_against(arm, is_named) is None
            and not fits(arm, query)
            and reason_but_size(arm, demands) is None
        ]

    def _none_eligible(
        self, arms: Sequence[Arm], rejected: Sequence[Rejection], query: Query
    ) -> NoEligibleArm | ContextTooLong:
        too_small = self._too_small(query)
        if too_small or (arms and not any(fits(arm, query) for arm in arms)):
            return too_long(too_small or arms, query)
        reasons = "; ".join(f"{r.arm_id}: {r.reason}" for r in rejected)
        return NoEligibleArm(f"no model can answer this request: {reasons}")

    def shadows(self, query: Query) -> list[Arm]:
        """The arms in shadow that could answer the query."""
        shadows = [arm for arm in self.aside if self.state(arm) == "shadow" and not arm.takes_client_key]
        if not shadows:
            return []
        demands = self._demands(query)
        able = [arm for arm in shadows if reason_against(arm, demands) is None]
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

    def _demands(self, query: Query) -> Demands:
        models = query.options.models
        demands = Demands(
            query=query,
            allowed=None if models is None else self._ids(models, "router.models"),
            excluded=self._ids(query.options.exclude, "router.exclude"),
            abilities=needs(query.body),
            data_use=self.required_data_use | query.options.require_data_use,
        )
        if self._all_have_keys:
            return demands
        asked = self.arms if query.requested_model is None else self._asked_for(query)
        choosable = [arm for arm in asked if is_allowed(arm, demands)]
        every_arm = (*self.arms, *self.aside)
        return replace(demands, without_key=without_key(every_arm, choosable, query, self.logins))

    def _ids(self, names: Iterable[str], param: str) -> frozenset[str]:
        return frozenset(arm_id for name in names for arm_id in self._ids_of(name, param))

    def _ids_of(self, name: str, param: str) -> Iterable[str]:
        """The arms that a name in an option stands for, whatever their state."""
        if (arm := self._named.get(name)) is not None:
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
        return reason_against(arm, self._demands(query))


def _state(registrations: Mapping[str, ArmRegistration], arm: Arm) -> ArmState:
    registration = registrations.get(arm.arm_id)
    return "active" if registration is None else registration.state
