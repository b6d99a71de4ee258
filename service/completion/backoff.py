"""When a model that no other can replace is called again after a failure, and how long to wait before."""

from __future__ import annotations

import numpy as np

from service.errors import (
    ProviderBroken,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderTimeout,
)

FIRST_WAIT_S = 0.5  # before the second call; doubled for each further one
LONGEST_WAIT_S = 10.0  # a client waits longer by itself, with Retry-After


def wait_before_retry_s(
    error: ProviderError, n_failures: int, rng: np.random.Generator, *, longest_s: float = LONGEST_WAIT_S
) -> float | None:
    """Seconds to wait before the same model is called again; None: the same call would fail again.

    The wait is as long as the provider asks, or doubles from call to call, with jitter, so that clients
    that failed together do not return together.

    Args:
        n_failures: failed calls of this request so far, at least 1.
        longest_s: the longest wait.
    """
    if not _may_pass(error):
        return None
    if error.retry_after_s is not None:
        return error.retry_after_s if error.retry_after_s <= longest_s else None
    return float(min(FIRST_WAIT_S * 2 ** (n_failures - 1), longest_s) * rng.uniform(0.5, 1.0))


def _may_pass(error: ProviderError) -> bool:
    """Whether the failure is of this moment: a limit, an overload, a lost connection, an answer cut off.

    A model that was silent for its whole time is not asked again, since its next call may take as long.
    """
    if isinstance(error, ProviderOutOfCredit):
        return False
    if isinstance(error, ProviderBroken):
        return error.status is None or error.status == 200 or error.status >= 500
    if isinstance(error, ProviderTimeout):
        return error.status is not None
    return isinstance(error, ProviderRateLimited)
