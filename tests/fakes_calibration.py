"""What a calibration reads and writes beside evidence, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import orjson

from service.domain.basics import Json
from service.domain.calibration import Calibration
from service.domain.logged_request import LoggedRequest
from service.store.log.request_bodies import body_to_store
from tests.fakes_store import FakeStore


@dataclass(frozen=True, slots=True)
class FakeCalibrationStore:
    """A CalibrationStore in memory."""

    store: FakeStore

    async def keep(self, calibration: Calibration) -> bool:
        self.store.check()
        self.store.calibrations[calibration.calibration_id] = calibration
        if calibration.state != "running":
            self.store.stop_requests.discard(calibration.calibration_id)
        return calibration.calibration_id in self.store.stop_requests

    async def request_stop(self, tenant: str, calibration_id: UUID) -> None:
        if await self.find(tenant, calibration_id) is not None:
            self.store.stop_requests.add(calibration_id)

    async def find(self, tenant: str, calibration_id: UUID) -> Calibration | None:
        self.store.check()
        found = self.store.calibrations.get(calibration_id)
        return None if found is None or found.tenant != tenant else found

    async def unfinished(self, tenant: str, options_digest: bytes) -> Calibration | None:
        newest = self._newest(tenant)
        return next((c for c in newest if c.options_digest == options_digest and c.state != "done"), None)

    async def newest(self, tenant: str, limit: int) -> Sequence[Calibration]:
        return [replace(c, prompts=None, report=None) for c in self._newest(tenant)[:limit]]

    async def delete(self, tenant: str, calibration_id: UUID) -> None:
        if await self.find(tenant, calibration_id) is not None:
            del self.store.calibrations[calibration_id]

    def _newest(self, tenant: str) -> list[Calibration]:
        self.store.check()
        own = [c for c in self.store.calibrations.values() if c.tenant == tenant]
        return sorted(own, key=lambda c: c.started_at, reverse=True)


@dataclass(frozen=True, slots=True)
class FakeRequestBodies:
    """The bodies of the requests in the log, if texts are stored."""

    store: FakeStore
    stores_texts: bool

    async def newest(
        self, tenant: str, since: datetime, until: datetime, limit: int
    ) -> Sequence[LoggedRequest]:
        self.store.check()
        found = [
            LoggedRequest(
                decision.decision_id,
                decision.decided_at,
                decision.query.body_digest,
                decision.query.text,
                decision.query.options.task,
                decision.encoder,
                decision.context,
            )
            for decision in self.store.decisions.values()
            if self.stores_texts
            and decision.query.tenant == tenant
            and since <= decision.decided_at < until
            and body_to_store(decision.query) is not None
            and decision.decision_id in self.store.outcomes
        ]
        return sorted(found, key=lambda request: request.decided_at, reverse=True)[:limit]

    async def bodies(self, tenant: str, decision_ids: Sequence[UUID]) -> Mapping[UUID, Json]:
        queries = {one: self.store.decisions[one].query for one in decision_ids}
        return {
            one: orjson.loads(body_to_store(query) or "{}")
            for one, query in queries.items()
            if query.tenant == tenant
        }
