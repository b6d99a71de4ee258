"""This replica's copy of the evidence."""

from __future__ import annotations

from collections.abc import Mapping

from service.store.sums import Versioned
from service.types import ArmSums


class Snapshot:
    """Tenant -> arm -> sums, as last seen. Readings may come in any order; the newest stands."""

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, ArmSums]] = {}
        self._versions: dict[tuple[str, str], int] = {}

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self._sums.get(tenant, {})

    def put(self, tenant: str, readings: Mapping[str, Versioned]) -> None:
        for arm_id, (version, sums) in readings.items():
            if version > self._versions.get((tenant, arm_id), -1):
                self._versions[tenant, arm_id] = version
                self._sums.setdefault(tenant, {})[arm_id] = sums
