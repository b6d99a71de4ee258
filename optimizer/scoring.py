"""Scores answers, and remembers what each prompt scored on each row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from optimizer.calls import RouterCalls, Stopped
from optimizer.rows import Row
from service.calibration.grading.grader import Grader, NotGraded
from service.calibration.journal import Reply
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.prompt import Prompt

Wait = Callable[[Callable[[], Awaitable[Any]]], Any]  # runs a coroutine on the loop of the encoder


@dataclass(frozen=True, slots=True)
class Scoring:
    """Grades answers of one arm.

    Args:
        wait: runs a coroutine function to its end, from any thread but that of its loop.
    """

    grader: Grader
    arm: Arm
    calls: RouterCalls
    wait: Wait
    _known: dict[tuple[str, str], float | None] = field(default_factory=dict)
    _by_prompt: dict[Prompt, dict[str, float]] = field(default_factory=dict)

    def score(self, row: Row, answer: str) -> float | None:
        """The score in [0, 1]; None: the answer could not be graded. Raises CapReached, CallsFail."""
        key = row.prompt.key, answer
        if key not in self._known:
            graded = self.wait(lambda: self._graded(row, answer))
            if isinstance(graded, Stopped):
                raise graded
            self._known[key] = graded
        return self._known[key]

    def metric(self, rows: Mapping[str, Row]) -> Callable[..., float]:
        """What DSPy calls for each answer; an answer that cannot be graded counts as 0."""

        def scored(example: Any, prediction: Any, *_: object) -> float:
            score = self.score(rows[example.key], prediction.answer or "") or 0.0
            if (prompt := prediction.get("prompt")) is not None:
                self._by_prompt.setdefault(prompt, {})[example.key] = score
            return score

        return scored

    def best(self, keys: Iterable[str], start: Prompt) -> Prompt:
        """The prompt of the highest mean on these rows, the shortest of equals; it has answered them all."""
        wanted = tuple(keys)
        means = {
            prompt: sum(scores[key] for key in wanted) / len(wanted)
            for prompt, scores in self._by_prompt.items()
            if all(key in scores for key in wanted)
        }
        return max(means, key=lambda prompt: (means[prompt], -prompt.n_tokens), default=start)

    async def _graded(self, row: Row, answer: str) -> float | Stopped | None:
        """The score; what ends the search is returned, since it would end the loop."""
        try:
            return await self.grader.grade(row.prompt, self.arm, answer, self._ask)
        except NotGraded:
            return None
        except Stopped as stopped:
            return stopped

    async def _ask(self, arm: Arm, body: Json) -> Reply:
        return await asyncio.to_thread(self.calls.ask, arm, body)
