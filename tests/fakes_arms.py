"""An arm registry and a shadow log for tests: dicts with the semantics of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from service.domain.arm import ArmSums
from service.domain.registration import ArmFigures, ArmRegistration, PriceChange, ShadowAnswer
from service.store.evidence.sums import nine_places, nine_places_or_zero, outcome_sums, six_places
from tests.fakes_store import FakeStore, repriced

NOW = datetime(2026, 11, 20, tzinfo=UTC)


@dataclass(slots=True)
class FakeArmRegistry:
    """An ArmRegistry in memory; changes are visible at once."""

    store: FakeStore
    on_change: Callable[[Mapping[str, ArmRegistration]], None] | None = None

    async def start(
        self, configured: Sequence[str], on_change: Callable[[Mapping[str, ArmRegistration]], None]
    ) -> None:
        self.on_change = on_change
        are_rated = any(sums.n > 0 for by_arm in self.store.sums.values() for sums in by_arm.values())
        seen = {arm_id for by_arm in self.store.sums.values() for arm_id in by_arm}
        for arm_id in configured:
            is_newcomer = are_rated and arm_id not in seen
            self.store.registrations.setdefault(
                arm_id, ArmRegistration(arm_id, NOW, NOW, is_newcomer=is_newcomer)
            )
        on_change(dict(self.store.registrations))

    async def change(
        self, decide: Callable[[Mapping[str, ArmRegistration]], ArmRegistration]
    ) -> ArmRegistration:
        self.store.check()
        registration = decide(dict(self.store.registrations))
        before = self.store.registrations.get(registration.arm_id)
        self.store.registrations[registration.arm_id] = registration
        for change in registration.price_changes[len(before.price_changes) if before else 0 :]:
            self._reprice(registration.arm_id, change)
        if self.on_change is not None:
            self.on_change(dict(self.store.registrations))
        return registration

    async def figures(self, tenant: str) -> Mapping[str, ArmFigures]:
        self.store.check()
        arm_ids = {*self.store.sums.get(tenant, {})}
        arm_ids |= {arm_id for (_, arm_id), a in self.store.shadow_answers.items() if a.tenant == tenant}
        return {arm_id: self._figures(tenant, arm_id) for arm_id in arm_ids}

    def _reprice(self, arm_id: str, change: PriceChange) -> None:
        for by_arm in self.store.sums.values():
            if arm_id in by_arm:
                by_arm[arm_id] = repriced(by_arm[arm_id], change)

    def _figures(self, tenant: str, arm_id: str) -> ArmFigures:
        shadows = self.store.shadow_answers.items()
        answers = [a for (_, arm), a in shadows if arm == arm_id and a.tenant == tenant]
        latencies = [a.attempt.latency_s for a in answers if a.attempt.status == "ok"]
        return ArmFigures(
            sums=self.store.sums.get(tenant, {}).get(arm_id, ArmSums()),
            n_shadow_calls=len(answers),
            n_shadow_errors=len(answers) - len(latencies),
            n_shadow_unpriced=sum(a.attempt.cost_usd is None for a in answers),
            shadow_usd=sum((nine_places_or_zero(a.attempt.cost_usd) for a in answers), Decimal(0)),
            shadow_latency_s=sum(latencies) / len(latencies) if latencies else None,
        )


@dataclass(slots=True)
class FakeShadowLog:
    """A ShadowLog in memory."""

    store: FakeStore

    async def reserve(self, arm_id: str, usd: Decimal, now: datetime) -> bool:
        self.store.check()
        registration, day = self.store.registrations[arm_id], (arm_id, now.date())
        spent = self.store.shadow_usd.get(day, Decimal(0)) + nine_places(usd)
        if (
            registration.state != "shadow"
            or registration.shadow is None
            or spent > registration.shadow.usd_per_day
        ):
            return False
        self.store.shadow_usd[day] = spent
        return True

    async def keep(self, answer: ShadowAnswer) -> None:
        self.store.check()
        attempt = answer.attempt
        key: tuple[UUID, str] = (attempt.decision_id, attempt.arm_id)
        if attempt.decision_id not in self.store.decisions:
            return
        self.store.shadow_answers[key] = answer
        cost_usd = nine_places_or_zero(attempt.cost_usd)
        day = (attempt.arm_id, attempt.started_at.date())
        if day in self.store.shadow_usd and attempt.cost_usd is not None:
            self.store.shadow_usd[day] += cost_usd - nine_places(answer.reserved_usd)
        latency_s = six_places(attempt.latency_s)
        new = outcome_sums(attempt.status, "explore", latency_s, cost_usd, attempt.cost_source)
        new = self.store.in_todays_prices(attempt.arm_id, new, answer.price_version)
        self.store.add(answer.tenant, {attempt.arm_id: new})
