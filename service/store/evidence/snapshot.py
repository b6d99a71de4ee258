"""This replica's copy of the evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from bandit.drift import ArmHistory
from service.domain.arm import ArmSums

T = TypeVar("T")


class Snapshot:
    """Sums and histories by tenant and arm, as last read."""

    def __init__(self) -> None:
        self._sums = _Newest[ArmSums]()
        self._histories = _Newest[ArmHistory]()

    def sums(self, tenant: str) -> Mapping[str, ArmSums]:
        return self._sums.of(tenant)

    def histories(self, tenant: str) -> Mapping[str, ArmHistory]:
        return self._histories.of(tenant)

    def others(self, tenant: str) -> Iterable[Mapping[str, ArmHistory]]:
        return self._histories.of_others(tenant)

    def put(self, tenant: str, readings: Mapping[str, tuple[int, ArmSums]]) -> None:
        self._sums.put(tenant, readings)

    def put_histories(self, tenant: str, readings: Mapping[str, tuple[int, ArmHistory]]) -> None:
        self._histories.put(tenant, readings)


class _Newest(Generic[T]):
    """Keeps the newest of each arm's versioned readings, which arrive in any order."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, T]] = {}
        self._versions: dict[tuple[str, str], int] = {}

    def of(self, tenant: str) -> Mapping[str, T]:
        return self._values.get(tenant, {})

    def of_others(self, tenant: str) -> Iterable[Mapping[str, T]]:
        return [values for other, values in self._values.items() if other != tenant]

    def put(self, tenant: str, readings: Mapping[str, tuple[int, T]]) -> None:
        for arm_id, (version, value) in readings.items():
            if version > self._versions.get((tenant, arm_id), -1):
                self._versions[tenant, arm_id] = version
                self._values.setdefault(tenant, {})[arm_id] = value
