"""Has every arm answer every prompt, and grades the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from service.arms.capabilities import needs
from service.arms.eligibility import Demands, reason_against
from service.calibration.answers import GradedAnswer
from service.calibration.calls import PaidCalls
from service.calibration.grading.grader import Grader, NotGraded
from service.calibration.journal import Reply
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm
from service.errors import BadRequest

# Prompts under way at once: all arms have been asked almost the same prompts when a run ends early.
MAX_PROMPTS = 32


@dataclass(frozen=True, slots=True)
class CalibrationProgress:
    """How far a calibration is.

    Args:
        n_done: answers that are graded or will not be.
        n_problems: those without a score.
        spent_usd: dollars of the calls that have ended.
    """

    n_done: int
    n_total: int
    n_problems: int
    spent_usd: Decimal
    max_usd: Decimal | None


OnProgress = Callable[[CalibrationProgress], None]


def no_progress(progress: CalibrationProgress) -> None:
    """Show no progress."""


async def calibrate(
    prompts: Sequence[CalibrationPrompt],
    arms: Sequence[Arm],
    grader: Grader,
    calls: PaidCalls,
    *,
    data_use: frozenset[str] = frozenset(),
    on_progress: OnProgress = no_progress,
) -> list[GradedAnswer]:
    """The graded answers of every arm to every prompt, prompt by prompt, with the arms in their order.

    An arm that fails or cannot answer stops nothing: its answers have a problem in place of a score.

    Args:
        data_use: promises that the provider of every arm must give.
        on_progress: called after every answer.

    Raises:
        BadRequest: the grader can grade no arm.
        StartupError: the journal cannot be written.
    """
    require_gradable(arms, grader)
    run = _Run(grader, calls, data_use, on_progress, n_total=len(prompts) * len(arms))
    answers: dict[tuple[int, str], GradedAnswer] = {}
    waiting = iter(enumerate(prompts))

    async def grade(i: int, arm: Arm) -> None:
        answers[i, arm.arm_id] = await run.graded(prompts[i], arm)

    async def work() -> None:
        for i, _ in waiting:
            async with asyncio.TaskGroup() as of_prompt:
                for arm in arms:
                    of_prompt.create_task(grade(i, arm))

    try:
        async with asyncio.TaskGroup() as workers:
            for _ in range(MAX_PROMPTS):
                workers.create_task(work())
    except BaseExceptionGroup as errors:  # the journal's errors are alike
        raise _first(errors) from errors
    if not calls.is_capped:
        calls.journal.completed()
        await calls.journal.sync()
    return [answers[i, arm.arm_id] for i in range(len(prompts)) for arm in arms]


def require_gradable(arms: Sequence[Arm], grader: Grader) -> None:
    """Require that the grader can grade an arm. Raises BadRequest: it can grade none."""
    reasons = [grader.reason_against_arm(arm) for arm in arms]
    if arms and all(reasons):
        raise BadRequest(f"grader: can grade no model: {reasons[0]}", param="grader")


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


@dataclass(slots=True)
class _Run:
    """The answers of one calibration, one at a time."""

    grader: Grader
    calls: PaidCalls
    data_use: frozenset[str]
    on_progress: OnProgress
    n_total: int
    n_done: int = field(default=0, init=False)
    n_problems: int = field(default=0, init=False)

    async def graded(self, prompt: CalibrationPrompt, arm: Arm) -> GradedAnswer:
        if (reason := reason_not_to_ask(prompt, arm, self.grader, self.data_use)) is not None:
            answer = _answer(prompt, arm, Reply(None, None, 0.0, None, reason), None, reason)
        else:
            reply = await self.calls.ask(arm, prompt.body)
            answer = _answer(prompt, arm, reply, *await self._score(prompt, arm, reply))
        self.n_done += 1
        self.n_problems += answer.score is None
        spent_usd, max_usd = self.calls.cap.spent_usd, self.calls.cap.max_usd
        self.on_progress(CalibrationProgress(self.n_done, self.n_total, self.n_problems, spent_usd, max_usd))
        return answer

    async def _score(
        self, prompt: CalibrationPrompt, arm: Arm, reply: Reply
    ) -> tuple[float | None, str | None]:
        """The score of an answer, and why there is none."""
        if reply.text is None:
            return None, reply.problem
        try:
            return await self.grader.grade(prompt, arm, reply.text, self.calls.ask), None
        except NotGraded as error:
            return None, f"not graded: {error}"


def reason_not_to_ask(
    prompt: CalibrationPrompt, arm: Arm, grader: Grader, data_use: frozenset[str]
) -> str | None:
    """Why the arm is not asked the prompt; None: it is."""
    demands = Demands(prompt.query, None, frozenset(), needs(prompt.body), data_use)
    return reason_against(arm, demands) or grader.reason_against_arm(arm)


def _answer(
    prompt: CalibrationPrompt, arm: Arm, reply: Reply, score: float | None, problem: str | None
) -> GradedAnswer:
    return GradedAnswer(
        prompt=prompt,
        arm_id=arm.arm_id,
        score=score,
        cost_usd=reply.cost_usd,
        latency_s=reply.latency_s,
        answer_text=reply.text,
        problem=problem,
        answered_at=reply.answered_at,
    )
