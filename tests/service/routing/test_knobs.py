"""Every knob of the learner, from its environment variable to the odds of a decision."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.settings.load import load_settings
from tests.fakes import Reply
from tests.service.world import World, arm, opened

ARMS = (arm("cheap", "0.1"), arm("dear", "1"), arm("young", "0.1"))  # the young one is never called
PLAIN = {"FEEDBACK_WEIGHT": "1", "LATENCY_WEIGHT": "0", "COST_WEIGHT": "0"}
OLD_S = 40 * 86_400


async def odds(folder: Path, environ: dict[str, str]) -> dict[str, float]:
    """Each arm's probability for a query near which the dear, slow arm is better; elsewhere it is worse."""
    settings = load_settings(None, PLAIN | environ)
    async with opened(folder, ARMS, **settings.model_dump(exclude_unset=True)) as world:
        for i in range(6):
            await taught(world, f"near-{i}", "alpha beta", cheap=0.3, dear=0.9)
            await taught(world, f"far-{i}", "gamma delta", cheap=0.8, dear=0.4)
        world.clock.advance(OLD_S)
        for _ in range(10):
            await world.ask("omega")
        return await world.weigh("alpha")


async def taught(world: World, name: str, text: str, *, cheap: float, dear: float) -> None:
    world.model_client.will("dear", Reply(takes_s=2.0))
    for model, score in (("cheap", cheap), ("dear", dear)):
        await world.ask(text, request_id=f"{name}-{model}", model=model)
        await world.rate(f"{name}-{model}", score)


@pytest.mark.parametrize(
    ("knob", "low", "high", "arm_id", "besides"),
    [
        ("FEEDBACK_WEIGHT", "0.1", "2", "dear", {"COST_WEIGHT": "-0.1"}),
        ("LATENCY_WEIGHT", "0", "0.3", "cheap", {}),
        ("COST_WEIGHT", "-0.3", "0", "dear", {}),
        ("EXPLORATION_RATE", "0", "1", "cheap", {"COST_WEIGHT": "-3", "EXPLORATION_BONUS": "1"}),
        ("PROPENSITY_FLOOR", "0.0002", "0.1", "young", {"COST_WEIGHT": "-3"}),
        ("SIMILARITY_THRESHOLD", "0.95", "0.5", "dear", {}),
        ("MAX_SIMILAR_REQUESTS", "0", "100", "dear", {}),
        ("MIN_SIMILAR_REQUESTS", "100", "5", "dear", {}),
        ("RECENCY_DAYS", "30", "50", "dear", {}),
        ("MIN_CONFIDENCE_SCORE", "0.1", "1", "cheap", {"DEFAULT_MODEL": "cheap"}),
        ("DEFAULT_MODEL", "cheap", "dear", "dear", {"MIN_CONFIDENCE_SCORE": "1"}),
        ("OPTIMISTIC_PRIOR", "0.1", "0.9", "young", {}),
        ("EXPLORATION_BONUS", "0", "0.5", "young", {}),
        ("MIN_REQUESTS_FOR_GLOBAL", "0", "10", "young", {"EXPLORATION_BONUS": "0.5"}),
        ("BUDGET_USD_PER_REQUEST", "0.00005", "1", "dear", {}),
    ],
)
async def test_a_knob_changes_the_probabilities_as_documented(
    tmp_path: Path, knob: str, low: str, high: str, arm_id: str, besides: dict[str, str]
) -> None:
    recent = {} if knob == "RECENCY_DAYS" else {"RECENCY_DAYS": "50"}

    little, much = [await odds(tmp_path / value, recent | besides | {knob: value}) for value in (low, high)]

    assert much[arm_id] > little[arm_id] + 0.005
