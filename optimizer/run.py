"""One optimisation: measure the prompt in use, search a better one, and compare both on held-out rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from optimizer.calls import CallsFail, CapReached
from optimizer.comparison import Comparison, compared
from optimizer.engine import language_model
from optimizer.rows import Row, Split, split
from optimizer.scoring import Scoring
from optimizer.search import Search
from service.domain.arm import Arm
from service.domain.prompt import Prompt
from service.errors import StartupError

KEPT_FOR_COMPARISON = 3  # times what the prompt in use has cost: a longer prompt costs more


@dataclass(frozen=True, slots=True)
class Optimised:
    """The best prompt that was found.

    Args:
        prompt: the prompt in use if none scored better on the rows of the validation.
        comparison: None: the prompt in use was the best.
        is_capped: the dollars ended the search early.
    """

    prompt: Prompt
    comparison: Comparison | None
    split: Split
    is_capped: bool
    spent_usd: Decimal
    n_calls: int

    @property
    def is_better(self) -> bool:
        return self.comparison is not None and self.comparison.is_better


def optimise(
    rows: Sequence[Row],
    task: str,
    arm: Arm,
    proposer: Arm,
    start: Prompt,
    scoring: Scoring,
    search: Search,
    say: Callable[[str], None],
) -> Optimised:
    """Optimise the prompt of an arm for a task.

    Args:
        arm: a model without a prompt of its own.
        proposer: the arm that writes instructions.
        start: the prompt in use; an empty one: requests go as they are.
        say: tells the operator how far it is.

    Raises:
        StartupError: the dollars are not enough to compare two prompts, or the calls fail.
    """
    calls, parts = scoring.calls, split(rows, np.random.default_rng(search.seed))
    sizes = f"{len(parts.train)} to learn from, {len(parts.validation)} to choose by"
    say(f"{len(rows)} requests: {sizes}, {len(parts.held_out)} held out")
    is_capped, start = False, replace(start, task=None)
    try:
        before = _scores(start, parts.held_out, arm, scoring, search.n_threads)
        say(f"the prompt in use scores {_mean(before):.3f} on the held-out requests")
        kept_usd = KEPT_FOR_COMPARISON * calls.spent_usd
        lms = [language_model(calls, each, kept_usd) for each in (arm, proposer)]
        try:
            search.run(start, parts, scoring, *lms)
        except CapReached:
            is_capped = True
            say("the dollars ended the search: the best prompt so far is compared")
        best = scoring.best((row.prompt.key for row in parts.validation), start)
        comparison = None
        if best != start:
            after = _scores(best, parts.held_out, arm, scoring, search.n_threads)
            comparison = compared(before, after)
    except CapReached:
        raise StartupError(
            f"{calls.max_usd} dollars are not enough to compare two prompts of {arm.arm_id} on "
            f"{len(parts.held_out)} held-out requests: {calls.spent_usd} were spent; raise --budget-usd"
        ) from None
    except CallsFail as failure:
        raise StartupError(str(failure)) from failure
    return Optimised(replace(best, task=task), comparison, parts, is_capped, calls.spent_usd, calls.n_calls)


def _scores(
    prompt: Prompt, rows: Sequence[Row], arm: Arm, scoring: Scoring, n_threads: int
) -> list[float | None]:
    """The score of each row; None: no answer, or one that could not be graded."""

    def scored(row: Row) -> float | None:
        reply = scoring.calls.ask(arm, prompt.before(row.prompt.body))
        return None if reply.text is None else scoring.score(row, reply.text)

    with ThreadPoolExecutor(n_threads) as executor:
        try:
            return list(executor.map(scored, rows))
        except BaseException:  # Ctrl-C, or the dollars are not enough: ask nothing more
            executor.shutdown(cancel_futures=True)
            raise


def _mean(scores: Sequence[float | None]) -> float:
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else 0.0
