"""One decision for each request id, however often a client sends the id.

A retry finds the logged decision. If two requests with one id run at the same time, the decision that is
committed first counts, and the calls of both requests are logged under it.

Another body under the id is decided under an id of its own, which is made from the id and the body, or is a
conflict (REUSED_REQUEST_ID).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace

import structlog

from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.domain.decision import Decision, LoggedDecision
from service.domain.ports import Journal
from service.domain.query import Query
from service.errors import RequestConflict, StoreUnavailable

log = structlog.get_logger(__name__)


class AnsweredElsewhere(Exception):
    """Another request with the same id runs at the same time, and its decision was logged first."""


async def find(journal: Journal, query: Query) -> LoggedDecision | None:
    """The decision of an earlier request with this id and body.

    Raises:
        RequestConflict: the id was used with another body.
    """
    if not query.request_id_given:
        return None
    try:
        logged = await journal.find(query.tenant, query.request_id)
    except StoreUnavailable:
        return None
    if logged is None:
        return None
    if logged.body_digest != query.body_digest:
        raise RequestConflict(
            f"X-Request-ID {query.request_id!r} was used before with another body; retries repeat it",
            param="X-Request-ID",
        )
    return logged


async def identified(
    journal: Journal, query: Query, *, allows_reuse: bool
) -> tuple[Query, LoggedDecision | None]:
    """The query under the id that belongs to its body, and the decision of an earlier request with both.

    Args:
        allows_reuse: whether a query whose id belongs to another body gets an id of its own.

    Raises:
        RequestConflict: the id was used with another body.
    """
    try:
        return query, await find(journal, query)
    except RequestConflict:
        if not allows_reuse:
            raise
    own = _under_own_id(query)
    return own, await find(journal, own)


def _under_own_id(query: Query) -> Query:
    own = query.under_own_id()
    log.info("request_id_reused", given_request_id=query.request_id, request_id=own.request_id)
    return own


async def log_decision(
    journal: Journal, run: RequestRun, decision: Decision, outcome: Outcome | None, *, allows_reuse: bool
) -> None:
    """Log the decision of a run; if its id was given to another body meanwhile, under an id of its own.

    Args:
        outcome: logged together with the decision, or not at all.

    Raises:
        RequestConflict: another decision was committed first under the id.
        StoreUnavailable: it cannot be logged.
    """
    try:
        await _write(journal, run, decision, outcome)
    except RequestConflict:
        if not allows_reuse:
            raise
        run.query, logged = await identified(journal, run.query, allows_reuse=True)
        if logged is not None or run.query.request_id == decision.query.request_id:
            raise
        await _write(journal, run, replace(decision, query=run.query), outcome)


async def _write(journal: Journal, run: RequestRun, decision: Decision, outcome: Outcome | None) -> None:
    if outcome is None:
        await journal.log_decision(decision)
    else:
        await journal.log_answer(decision, outcome, run.attempts)


async def first_decision(journal: Journal, query: Query) -> LoggedDecision:
    """The decision that was committed first under the request id.

    Raises:
        RequestConflict: the id belongs to another request.
    """
    first = await find(journal, query)
    if first is None:
        raise RequestConflict(f"X-Request-ID {query.request_id!r} is in use", param="X-Request-ID")
    return first


async def committed(journal: Journal, run: RequestRun) -> None:
    """Wait until the run's decision is committed; every answer waits for this.

    Raises:
        AnsweredElsewhere: another decision was committed first under the same request id.
    """
    if run.logging is not None:
        # A client that disconnects now does not cancel the commit.
        await _noted(journal, run, asyncio.shield(run.logging.begin()))


async def committed_with(journal: Journal, run: RequestRun, outcome: Outcome) -> bool:
    """Wait until the run's decision is committed, in one commit with the outcome if it is not begun yet.

    Returns whether the outcome was in that commit. Not to be cancelled. Raises as `committed` does.
    """
    if run.logging is None or run.is_lost:
        return False
    if run.logging.has_begun:
        await committed(journal, run)
        return False
    await _noted(journal, run, run.logging.begin_with(outcome))
    return True


async def _noted(journal: Journal, run: RequestRun, writing: Awaitable[None]) -> None:
    """Wait for a write of the run's decision, and note in the run if it was not made in PostgreSQL."""
    try:
        await writing
    except RequestConflict as error:
        raise AnsweredElsewhere from error
    except StoreUnavailable as error:
        run.is_lost = True
        log.error("decision_not_logged", request_id=run.query.request_id, error=str(error))
    if (run.is_lost or journal.is_degraded) and "store" not in run.degraded:
        run.degraded.append("store")


async def settled(journal: Journal, run: RequestRun) -> RequestRun:
    """The run once its decision is committed; on the first decision if another was committed first."""
    try:
        await committed(journal, run)
    except AnsweredElsewhere:
        return await _rebased(journal, run)
    return run


async def _rebased(journal: Journal, run: RequestRun) -> RequestRun:
    """The run's calls under the first decision; lost if the id belongs to another request."""
    try:
        first = await first_decision(journal, run.query)
    except RequestConflict:
        run.is_lost = True
        return run
    rebased = RequestRun.retry(run.query, first)
    rebased.adopt(run)
    return rebased
