"""The error for the client of a request that no arm answered."""

from __future__ import annotations

from service.arms.catalog import Catalog
from service.completion.refusal import most_useful
from service.completion.request_run import RequestRun
from service.domain.context_overflow import CODE, ContextOverflow
from service.domain.tokens import prompt_tokens
from service.errors import (
    ContextTooLong,
    ProviderError,
    ProviderOutOfCredit,
    ProviderRateLimited,
    RouterError,
    no_answer,
)

_LIMITS = {kind.__name__: kind for kind in (ProviderRateLimited, ProviderOutOfCredit)}


def unanswered(run: RequestRun, catalog: Catalog, *, deadline_s: float | None) -> RouterError:
    """The refusal that helps most if every call was refused; else what prevented the other arms.

    An arm that refuses the request is no reason to come back later, and one that failed is.

    Args:
        deadline_s: the time for a request, if it is over.
    """
    failed = [attempt for attempt in run.attempts if attempt.status == "failed"]
    if run.refusals and all(attempt.arm_id in run.refusing for attempt in failed):
        error = most_useful(run.refusals)
        return _too_long(run, catalog) if error.code == CODE else error
    if (too_long := _too_long_for_the_rest(run, catalog)) is not None:
        return too_long
    reasons = [f"{attempt.arm_id}: {attempt.error_message}" for attempt in failed]
    reasons += [f"{refusal.arm_id}: {refusal.error}" for refusal in run.refusals if refusal.error.is_local]
    reasons += [f"{arm_id}: {why}" for arm_id, why in run.passed_over.items()]
    if deadline_s is not None:
        reasons.append(f"the time for a request is over ({deadline_s:g} s)")
    message = f"no model answered: {'; '.join(reasons)}"
    return no_answer(_causes(run, catalog), message, retry_after_s=_wait_s(run, catalog) or None)


def _too_long(run: RequestRun, catalog: Catalog) -> ContextTooLong:
    """The refusal of the largest window, with its numbers: what it leaves out is known or estimated."""
    arms = {arm.arm_id: arm for arm in catalog.arms}
    overflows = []
    for refusal in run.refusals:
        arm = arms.get(refusal.arm_id)
        if refusal.error.code == CODE and arm is not None:
            said = ContextOverflow.read(str(refusal.error))
            n_tokens = prompt_tokens(arm, run.query)
            overflows.append(said.known_to_be(window=arm.context_window, n_tokens=n_tokens))
    if not overflows:  # the arms have been removed meanwhile
        overflows = [ContextOverflow.read(str(most_useful(run.refusals)))]
    largest = max(overflows, key=lambda overflow: overflow.window or 0)
    return ContextTooLong(largest.in_openais_words, param="messages")


def _too_long_for_the_rest(run: RequestRun, catalog: Catalog) -> ContextTooLong | None:
    """The error if all arms with room for the prompt cool down, and others could answer a shorter one."""
    arms = [arm for arm in catalog.arms if arm.arm_id in run.probabilities.keys() - run.refusing]
    if any(catalog.breaker.open_reason(arm) is None for arm in arms):
        return None
    return catalog.too_long(run.query)


def _wait_s(run: RequestRun, catalog: Catalog) -> float:
    """Seconds until the first arm that may answer has cooled down."""
    arms = [arm for arm in catalog.arms if arm.arm_id in run.probabilities.keys() - run.refusing]
    if run.has_no_choice and catalog.has_no_alternative(run.query):  # called while it cools down too
        arms = [arm for arm in arms if catalog.breaker.asks_to_wait(arm)]
    return min((catalog.breaker.reopens_in_s(arm) for arm in arms), default=0.0)


def _causes(run: RequestRun, catalog: Catalog) -> list[type[ProviderError]]:
    """Why each drawn arm failed or is cooling down."""
    of_failures = [
        _LIMITS.get(str(attempt.error_type), ProviderError)
        for attempt in run.attempts
        if attempt.status == "failed" and attempt.arm_id not in run.refusing
    ]
    arms = {arm.arm_id: arm for arm in catalog.arms}
    of_passed_over = [
        catalog.breaker.open_cause(arms[arm_id]) if arm_id in arms else ProviderError
        for arm_id in run.passed_over
    ]
    return [*of_failures, *of_passed_over]
