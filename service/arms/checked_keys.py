"""Which providers accept their keys: asked at the start and on demand, and told by failing calls."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from service.arms.breaker import Breaker
from service.domain.arm import Arm
from service.domain.key_check import REJECTING_STATUSES, KeyCheck
from service.domain.ports import KeyChecker

log = structlog.get_logger(__name__)

NOT_CHECKED = KeyCheck("unknown", "not checked")
Server = tuple[str, str | None, str | None]  # provider, base_url, key_name


@dataclass(slots=True)
class CheckedKeys:
    """The newest check of each server's key.

    Args:
        breaker: the errors of calls.
    """

    checker: KeyChecker
    breaker: Breaker
    _checks: dict[Server, KeyCheck] = field(default_factory=dict)

    async def check(self, arms: Iterable[Arm]) -> None:
        """Ask the server of each arm, all at once; a rejected key is logged."""
        servers = {_server(arm): arm for arm in _endpoints(arms)}
        checks = await asyncio.gather(*map(self.checker.check, servers.values()))
        for (server, arm), check in zip(servers.items(), checks, strict=True):
            self._checks[server] = check
            if check.state == "rejected":
                log.warning("key_rejected", model=arm.arm_id, key=arm.key_name, reason=check.reason)

    def of(self, arm: Arm) -> KeyCheck:
        """The check of the arm's key; a call that failed by its key since counts as one."""
        check = self._checks.get(_server(arm), NOT_CHECKED)
        state = self.breaker.state_of(arm)
        if not state.last_errors or not state.n_failures:
            return check
        newest = state.last_errors[0]
        if newest.status in REJECTING_STATUSES and (check.at is None or newest.at > check.at):
            return KeyCheck("rejected", f"the last call got HTTP {newest.status}", newest.at)
        return check

    def warnings(self, arms: Iterable[Arm]) -> Iterator[str]:
        """A sentence for each key that is rejected, with the arms that use it."""
        rejected: dict[Server, list[Arm]] = {}
        for arm in _endpoints(arms):
            if self.of(arm).state == "rejected":
                rejected.setdefault(_server(arm), []).append(arm)
        for first, *others in rejected.values():
            names = ", ".join(dict.fromkeys(arm.arm_id for arm in (first, *others)))
            yield f"{names}: the provider rejects the key in {first.key_name}: {self.of(first).reason}"


def _endpoints(arms: Iterable[Arm]) -> Iterator[Arm]:
    return (endpoint for arm in arms for endpoint in arm.endpoints)


def _server(arm: Arm) -> Server:
    return arm.provider, arm.base_url, arm.key_name
