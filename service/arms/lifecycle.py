"""Change arms at runtime: add, re-price, try in shadow, drain, retire; every replica follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from pydantic import ValidationError

from bandit.budget import Pacer
from service.arms.addresses import with_default_address
from service.arms.catalog import Catalog
from service.arms.configured import arm_of, priced
from service.arms.key_bindings import KeyBindings
from service.arms.provider_prices import with_provider_prices
from service.arms.unknown_prices import HOW_TO_SET
from service.domain.arm import Arm, Price
from service.domain.basics import AUTO
from service.domain.ports import ArmRegistry, Clock, PriceLists
from service.domain.registration import ArmFigures, ArmRegistration, ArmState, Shadow, price_change
from service.errors import BadRequest, ModelConflict, UnknownModel
from service.settings.models import ModelSettings, PriceSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ArmChange:
    """The changes of one arm; None leaves a field as it is."""

    state: ArmState | None = None
    price: Price | None = None
    shadow: Shadow | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ArmOverview:
    """One arm, and its figures; `registration=None`: PostgreSQL was not reached since the start."""

    arm: Arm
    state: ArmState
    registration: ArmRegistration | None
    figures: ArmFigures | None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Changes arms at runtime, and applies the changes to the catalogue and the budget.

    Args:
        configured: the arms of the settings, in the operator's order; added arms come after them.
        key_bindings: where an added arm may send a key; stored arms that break the rule are retired.
        environ: variables with the keys of providers.
        price_lists: where the prices of added arms are looked up; None: nowhere.
    """

    configured: tuple[Arm, ...]
    key_bindings: KeyBindings
    catalog: Catalog
    registry: ArmRegistry
    pacer: Pacer
    environ: Mapping[str, str]
    clock: Clock
    price_lists: PriceLists | None = None

    def follow(self, registrations: Mapping[str, ArmRegistration]) -> None:
        """Apply the changes that this or another replica has committed."""
        before = self.catalog.registrations
        arms = current_arms(self.configured, registrations)
        registrations = self._with_bound_keys(arms, registrations)
        self.catalog.put(arms, registrations)
        if (state := self.catalog.default_state) != "active":
            log.error("default_model_not_active", model=self.catalog.default_arm_id, state=state)
        for arm_id, registration in registrations.items():
            n_seen = len(before[arm_id].price_changes) if arm_id in before else 0
            for change in registration.price_changes[n_seen:]:
                self.pacer.reprice(arm_id, float(change.factor))

    def _with_bound_keys(
        self, arms: Sequence[Arm], registrations: Mapping[str, ArmRegistration]
    ) -> Mapping[str, ArmRegistration]:
        """The registrations, with every added arm retired that would send a key to a place of its own."""
        retired = {}
        for arm in arms:
            problem = None if self._is_configured(arm) else self.key_bindings.problem(arm)
            if problem is None:
                continue
            reason = f"{problem.field}: {problem.message}"
            retired[arm.arm_id] = replace(registrations[arm.arm_id], state="retired", reason=reason)
            if self.catalog.registrations.get(arm.arm_id) != retired[arm.arm_id]:
                log.error("model_key_not_bound", model=arm.arm_id, reason=reason)
        return {**registrations, **retired}

    def _is_configured(self, arm: Arm) -> bool:
        return any(arm.arm_id == configured.arm_id for configured in self.configured)

    async def listed(self, tenant: str) -> list[ArmOverview]:
        """Every arm, including retired ones, with the tenant's figures. Raises StoreUnavailable."""
        figures = await self.registry.figures(tenant)
        arms = (*self.catalog.arms, *self.catalog.aside)
        return [self._overview(arm, figures.get(arm.arm_id)) for arm in arms]

    async def show(self, tenant: str, arm_id: str) -> ArmOverview:
        """One arm, with the tenant's figures. Raises UnknownModel, StoreUnavailable."""
        figures = await self.registry.figures(tenant)
        return self._overview(self.catalog.known(arm_id), figures.get(arm_id))

    async def add(self, model: ModelSettings, shadow: Shadow | None, reason: str | None) -> None:
        """Add an arm: as a newcomer, which is tried soon, or in shadow.

        Raises:
            BadRequest: the model breaks a rule.
            ModelConflict: its id or an alias is taken.
            StoreUnavailable: PostgreSQL is unreachable.
        """
        model = with_default_address(model, self.environ)
        arm, now = arm_of(model), self.clock()
        self._check(model, arm)
        arm = await self._with_providers_price(arm)
        if arm.price is None and self.pacer.budget_usd is not None:
            raise BadRequest(f"price: is not known, and the budget needs it: set {HOW_TO_SET}", param="price")
        registration = ArmRegistration(
            arm_id=arm.arm_id,
            added_at=now,
            changed_at=now,
            state="active" if shadow is None else "shadow",
            entry=_complete(model, arm).model_dump(mode="json", exclude_none=True),
            shadow=shadow,
            is_newcomer=True,
            reason=reason,
        )

        def decide(known: Mapping[str, ArmRegistration]) -> ArmRegistration:
            arms = current_arms(self.configured, known)
            taken = {name for other in arms for name in (other.arm_id, *other.aliases)}
            taken |= self.catalog.names.aliases.keys()
            if clash := sorted((taken | known.keys()) & {arm.arm_id, *arm.aliases}):
                raise ModelConflict(
                    f"id and aliases must be new, {clash[0]!r} exists; change it with PATCH, even if retired",
                    param="id" if clash[0] == arm.arm_id else "aliases",
                )
            return registration

        await self.registry.change(decide)

    async def change(self, arm_id: str, change: ArmChange) -> None:
        """Re-price, drain, retire or reactivate an arm, or try it in shadow.

        Raises:
            UnknownModel: no arm has that id.
            BadRequest: the arm is to go into shadow without a share and a cap, or its key must not be used.
            ModelConflict: the default model and the last active model must stay active.
            StoreUnavailable: PostgreSQL is unreachable.
        """

        def decide(known: Mapping[str, ArmRegistration]) -> ArmRegistration:
            arms = current_arms(self.configured, known)
            arm = next((arm for arm in arms if arm.arm_id == arm_id), None)
            if arm is None:
                raise UnknownModel(f"model {arm_id!r} does not exist", param="model_id")
            if change.state not in (None, "retired") and not self._is_configured(arm):
                self._require_bound_key(arm)
            if change.state not in (None, "active"):
                self._require_dispensable(arm, [a for a in arms if _state(known, a) == "active"])
            now = self.clock()
            before = known.get(arm_id) or ArmRegistration(arm_id, added_at=now, changed_at=now)
            return _changed(before, arm, change, now)

        await self.registry.change(decide)

    async def _with_providers_price(self, arm: Arm) -> Arm:
        if self.price_lists is None:
            return arm
        priced_arms = await with_provider_prices([arm], self.price_lists)
        for note in priced_arms.notes:
            log.warning("price_list_not_read", reason=note)
        return priced_arms.arms[0]

    def _overview(self, arm: Arm, figures: ArmFigures | None) -> ArmOverview:
        return ArmOverview(arm, self.catalog.state(arm), self.catalog.registrations.get(arm.arm_id), figures)

    def _require_dispensable(self, arm: Arm, active: Sequence[Arm]) -> None:
        if arm.arm_id == self.catalog.default_arm_id:
            raise ModelConflict(f"DEFAULT_MODEL must stay active, and it is {arm.arm_id!r}", param="state")
        if [a.arm_id for a in active] == [arm.arm_id]:
            raise ModelConflict(f"one model must stay active, and {arm.arm_id!r} is the last", param="state")

    def _check(self, model: ModelSettings, arm: Arm) -> None:
        names = [model.id, *model.aliases]
        if len(set(names)) < len(names) or AUTO & set(names):
            raise BadRequest(f"id and aliases must differ and not be `auto`, got {names}", param="aliases")
        self._require_bound_key(arm)
        keys = [endpoint.api_key_env for endpoint in arm.endpoints]
        if (missing := next((key for key in keys if key and not self.environ.get(key)), None)) is not None:
            raise BadRequest(f"api_key_env: {missing} is not set where the service runs", param="api_key_env")

    def _require_bound_key(self, arm: Arm) -> None:
        if (problem := self.key_bindings.problem(arm)) is not None:
            raise BadRequest(f"{problem.field}: {problem.message}", param=problem.field)


def current_arms(configured: Sequence[Arm], registrations: Mapping[str, ArmRegistration]) -> list[Arm]:
    """Every arm at its present price: configured arms, then added ones, oldest first."""
    ids = {arm.arm_id for arm in configured}
    entries = [r for r in registrations.values() if r.entry is not None and r.arm_id not in ids]
    added = [_added(registration) for registration in sorted(entries, key=lambda r: (r.added_at, r.arm_id))]
    return [_priced(arm, registrations.get(arm.arm_id)) for arm in (*configured, *added) if arm is not None]


def _added(registration: ArmRegistration) -> Arm | None:
    try:
        return arm_of(ModelSettings.model_validate(registration.entry))
    except ValidationError:  # a newer replica added it
        log.error("model_entry_invalid", model=registration.arm_id)
        return None


def _priced(arm: Arm, registration: ArmRegistration | None) -> Arm:
    if registration is None or registration.price is None:
        return arm
    arm = priced(arm, registration.price, "configured")
    return replace(arm, price_version=len(registration.price_changes))


def _state(registrations: Mapping[str, ArmRegistration], arm: Arm) -> ArmState:
    registration = registrations.get(arm.arm_id)
    return "active" if registration is None else registration.state


def _complete(model: ModelSettings, arm: Arm) -> ModelSettings:
    """The entry completed with price and window, since the price lists of replicas may differ."""
    price = None if arm.price is None else PriceSettings.of(arm.price)
    return model.model_copy(update={"price": price, "context_window": arm.context_window})


def _changed(before: ArmRegistration, arm: Arm, change: ArmChange, now: datetime) -> ArmRegistration:
    state, shadow = change.state or before.state, change.shadow or before.shadow
    if state == "shadow" and shadow is None:
        raise BadRequest("shadow: field is required for state `shadow`", param="shadow")
    price = change.price or before.price
    # Answers of unknown cost are in no sum of dollars, so the first known price converts nothing.
    new_change = None if price is None or arm.price is None else price_change(arm.price, price, now)
    return replace(
        before,
        changed_at=now,
        state=state,
        shadow=shadow,
        price=price,
        reason=before.reason if change.reason is None else change.reason,
        price_changes=before.price_changes if new_change is None else (*before.price_changes, new_change),
    )
