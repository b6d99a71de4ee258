"""Whether what a process does all the time was done lately."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from service.domain.basics import Json

FORGOTTEN_AFTER_S = 60.0  # an idle process must not stay degraded by a failure of the past


@dataclass(slots=True)
class Lately:
    """When something last succeeded, and how often it failed since.

    A dependency may answer a check and still fail at its work: a full disk, a collection of another
    dimension. So health asks what was done.

    Args:
        failures: this many in a row are no accident.
        clock: monotonic, seconds.
    """

    failures: int = 3
    clock: Callable[[], float] = time.monotonic
    _succeeded_at: float | None = field(default=None, init=False)
    _failed_at: float | None = field(default=None, init=False)
    _n_failed: int = field(default=0, init=False)
    _error: str | None = field(default=None, init=False)

    def succeeded(self) -> None:
        self._succeeded_at = self.clock()
        self._n_failed = 0

    def failed(self, error: Exception) -> None:
        self._failed_at = self.clock()
        self._n_failed += 1
        self._error = str(error) or type(error).__name__

    @property
    def is_failing(self) -> bool:
        """Whether it failed lately, and did not succeed since."""
        is_of_late = self._failed_at is not None and self.clock() - self._failed_at < FORGOTTEN_AFTER_S
        return is_of_late and self._n_failed >= self.failures

    def as_json(self) -> Json:
        """Seconds since the last success (null: none yet), failures since, and the last of them."""
        at = self._succeeded_at
        return {
            "last_success_s_ago": None if at is None else round(self.clock() - at, 1),
            "failures_since": self._n_failed,
            "last_error": self._error if self._n_failed else None,
        }
