"""The optimiser with the real DSPy, through a real router, against a scripted model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from optimizer.calls import RouterCalls
from optimizer.rows import rows_of
from optimizer.run import Optimised, optimise
from optimizer.scoring import Scoring
from optimizer.search import Optimizer, Search
from service.calibration.grading.comparisons import EXACT
from service.domain.arm import Arm, Price
from service.domain.prompt import Prompt
from service.errors import StartupError
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.optimizer.scripted_model import ASKED, AddingModel, logged
from tests.service.providers.scripted import listening
from tests.service.served import serving
from tests.service.world import opened

NO_PROMPT = Prompt()


@dataclass(frozen=True, slots=True)
class Scene:
    model: AddingModel
    arm: Arm
    url: str
    said: list[str]

    async def optimise(self, optimizer: Optimizer = "mipro", **more: Any) -> Optimised:
        """Optimise in a thread of its own: the router answers in this one."""
        return await asyncio.to_thread(self._optimise, optimizer, **more)

    def _optimise(
        self, optimizer: Optimizer, *, max_usd: str = "1", start: Prompt = NO_PROMPT, n_threads: int = 1
    ) -> Optimised:
        rows = rows_of(logged(24), "sums", EXACT).rows
        with (
            start_blocking_portal() as portal,
            httpx.Client(base_url=self.url, trust_env=False, timeout=30) as http,
        ):
            calls = RouterCalls(http, Decimal(max_usd), sleep=lambda s: None)
            scoring = Scoring(EXACT, self.arm, calls, portal.call)
            search = Search(optimizer, n_candidates=2, n_trials=3, n_threads=n_threads, seed=0)
            return optimise(rows, "sums", self.arm, self.arm, start, scoring, search, self.said.append)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    model = AddingModel()
    async with listening(model.handle) as url:
        arm = Arm("small", "openai", "m", base_url=f"{url}/v1", price=Price(Decimal(1), Decimal(4)))
        async with opened(tmp_path, [arm]) as world:
            client = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
            world.parts.completion = replace(world.parts.completion, model_client=client)
            async with serving(world) as port:
                yield Scene(model, arm, f"http://127.0.0.1:{port}", [])
            await client.close()


@pytest.mark.parametrize("optimizer", ["mipro", "gepa"])
async def test_a_better_prompt_is_found_and_shown_on_held_out_requests(
    scene: Scene, optimizer: Optimizer
) -> None:
    optimised = await scene.optimise(optimizer)

    assert optimised.is_better, scene.said
    assert optimised.prompt.instructions == ASKED
    assert optimised.prompt.task == "sums"
    assert optimised.comparison is not None
    assert (optimised.comparison.before, optimised.comparison.after) == (0.0, 1.0)
    assert 0 < optimised.comparison.difference.low < optimised.comparison.difference.value == 1.0
    assert optimised.comparison.n == len(optimised.split.held_out)
    assert optimised.n_calls == len(scene.model.bodies)
    assert optimised.spent_usd == Decimal("0.00005") * optimised.n_calls


async def test_several_threads_find_the_same_prompt(scene: Scene) -> None:
    optimised = await scene.optimise(n_threads=3)

    assert optimised.is_better
    assert optimised.prompt.instructions == ASKED


async def test_a_prompt_that_changes_nothing_is_not_better(scene: Scene) -> None:
    scene.model.instruction = "Think hard."

    optimised = await scene.optimise()

    assert not optimised.is_better
    assert optimised.comparison is None or optimised.comparison.difference.low <= 0


async def test_the_prompt_in_use_is_what_a_new_one_must_beat(scene: Scene) -> None:
    optimised = await scene.optimise(start=Prompt(ASKED))

    assert not optimised.is_better
    assert scene.said[1] == "the prompt in use scores 1.000 on the held-out requests"


async def test_the_cap_ends_the_search_with_the_best_prompt_so_far(scene: Scene) -> None:
    optimised = await scene.optimise(max_usd="0.0126")

    assert optimised.is_capped
    assert optimised.spent_usd <= Decimal("0.0126")


async def test_a_cap_that_is_too_small_for_a_comparison_says_so(scene: Scene) -> None:
    with pytest.raises(StartupError, match=r"0\.009 dollars are not enough .* raise --budget-usd"):
        await scene.optimise(max_usd="0.009")


async def test_a_model_that_keeps_failing_ends_the_search(scene: Scene) -> None:
    scene.model.fails_after = 12

    with pytest.raises(StartupError, match="no credit"):
        await scene.optimise()


async def test_the_router_learns_nothing_from_the_search(scene: Scene) -> None:
    await scene.optimise()

    async with httpx.AsyncClient(base_url=scene.url) as http:
        (model,) = (await http.get("/admin/models")).json()["data"]
    assert (model["evidence"] or {"n_outcomes": 0})["n_outcomes"] == 0
