"""Checks what an operator wants of a calibration over HTTP, before anything is spent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.arms.catalog import Catalog
from service.calibration.asked_arms import asked_arms, require_own_key, require_promises
from service.calibration.grading.grader import Grader
from service.calibration.grading.named import JudgeOptions, grader_named
from service.calibration.prompts import CalibrationPrompt
from service.calibration.run import require_gradable
from service.calibration.sampling import LogSampler, gradable
from service.calibration.wish import Wish
from service.domain.arm import Arm
from service.domain.ports import Clock
from service.errors import BadRequest

RUN_CODE = frozenset({"unit-tests", "python"})  # graders, by the beginning of their names
SETTING = "ADMIN_RUNS_CODE"


@dataclass(frozen=True, slots=True)
class WishChecker:
    """Finds the models, the grader and the prompts of a wish.

    Args:
        data_use: promises that every provider must give that reads prompts.
        runs_code: whether graders that run code may be named.
    """

    catalog: Catalog
    sampler: LogSampler
    clock: Clock
    data_use: frozenset[str]
    runs_code: bool

    def checked(self, wish: Wish) -> Wish:
        """The wish with the ids of its models, so that an alias makes no other wish.

        Raises:
            BadRequest: there is no such model or grader, or the grader can grade none of the models.
        """
        arms = self.arms(wish.models)
        require_gradable(arms, self.grader(wish.grader, wish.judge))
        return replace(wish, models=tuple(arm.arm_id for arm in arms)) if wish.models else wish

    def arms(self, models: Sequence[str]) -> tuple[Arm, ...]:
        """The arms of these names; empty: all in use. Raises UnknownModel."""
        return asked_arms(self.catalog, models)

    def grader(self, name: str, judge: JudgeOptions) -> Grader:
        """The grader of that name. Raises BadRequest: there is none, or it runs code."""
        if name.partition(":")[0] in RUN_CODE and not self.runs_code:
            message = f"grader: {name[:40]!r} runs code, which {SETTING}=false forbids over HTTP"
            raise BadRequest(message, param="grader")
        return grader_named(name, self._judge, judge)

    async def prompts(self, tenant: str, wish: Wish) -> Sequence[CalibrationPrompt]:
        """The prompts of the wish: those given, or a sample of the log.

        Raises:
            BadRequest: the grader cannot grade a given prompt, or none of the log.
            StoreUnavailable, EncoderError: the log cannot be sampled.
        """
        grader = self.grader(wish.grader, wish.judge)
        if wish.since is not None:
            sample = await self.sampler.sample(tenant, wish.since, self.clock(), wish.sample)
            return await asyncio.to_thread(gradable, sample, grader)
        await asyncio.to_thread(_require_prompts, wish.prompts, grader)
        return wish.prompts

    def _judge(self, name: str) -> Arm:
        arm = self.catalog.known(name, param="grader")
        require_own_key(arm, "grader")
        require_promises(arm, self.data_use)
        return arm


def _require_prompts(prompts: Sequence[CalibrationPrompt], grader: Grader) -> None:
    """Require that the grader can grade every prompt. Raises BadRequest."""
    for i, prompt in enumerate(prompts):
        if (reason := grader.reason_against(prompt)) is not None:
            raise BadRequest(f"prompts[{i}].{reason}", param=f"prompts[{i}].{reason.partition(':')[0]}")
