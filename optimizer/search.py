"""Searches a better prompt with one of DSPy's optimisers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Literal

import dspy
from dspy.utils.exceptions import DSPyError

from optimizer.calls import CallsFail
from optimizer.program import Answering, example_of
from optimizer.rows import GOOD_REWARD, Split
from optimizer.scoring import Scoring
from service.domain.prompt import Prompt

Optimizer = Literal["mipro", "gepa"]
MAX_ERRORS = 1_000_000  # rows without an answer: they score 0, and too many in a row end the search
MAX_DEMOS = 2
MINIBATCH = 3  # rows that GEPA reflects on at a time


@dataclass(frozen=True, slots=True)
class Search:
    """How a prompt is searched.

    Args:
        n_candidates: instructions that are proposed.
        n_trials: prompts that are tried on all rows of the validation.
    """

    optimizer: Optimizer
    n_candidates: int
    n_trials: int
    n_threads: int
    seed: int

    def run(self, start: Prompt, split: Split, scoring: Scoring, model: Any, proposer: Any) -> None:
        """Try prompts; the scoring remembers what each has scored. Raises CapReached, CallsFail."""
        rows = {row.prompt.key: row for row in (*split.train, *split.validation)}
        metric = scoring.metric(rows)
        train, validation = ([example_of(row) for row in part] for part in (split.train, split.validation))
        with _quiet(), dspy.context(lm=model, disable_history=True):
            try:
                if self.optimizer == "gepa":
                    self._gepa(metric, proposer, len(validation)).compile(
                        Answering(start), trainset=train, valset=validation
                    )
                else:
                    self._mipro(metric, model, proposer).compile(
                        Answering(start),
                        trainset=train,
                        valset=validation,
                        num_trials=self.n_trials,
                        minibatch=False,
                    )
            except DSPyError as error:  # no instructions were proposed
                raise CallsFail(f"the search failed: {error}") from error

    def _mipro(self, metric: Any, model: Any, proposer: Any) -> Any:
        return dspy.MIPROv2(
            metric=metric,
            prompt_model=proposer,
            task_model=model,
            max_bootstrapped_demos=MAX_DEMOS,
            max_labeled_demos=MAX_DEMOS,
            auto=None,
            num_candidates=self.n_candidates,
            num_threads=self.n_threads,
            max_errors=MAX_ERRORS,
            seed=self.seed,
            track_stats=False,
            metric_threshold=GOOD_REWARD,
        )

    def _gepa(self, metric: Any, proposer: Any, n_validation: int) -> Any:
        def with_feedback(
            gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
        ) -> Any:
            score = metric(gold, pred)
            wanted = f" A highly rated answer: {gold.answer}" if "answer" in gold else ""
            return dspy.Prediction(score=score, feedback=f"The answer scored {score:.2f} of 1.{wanted}")

        return dspy.GEPA(
            metric=with_feedback,
            max_metric_calls=self.n_trials * (n_validation + 2 * MINIBATCH),
            reflection_minibatch_size=MINIBATCH,
            reflection_lm=proposer,
            num_threads=self.n_threads,
            use_merge=False,
            seed=self.seed,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep DSPy's bars away from standard output, which is for the report, and its log from ours."""
    names = ("dspy", "gepa", "optuna")
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
