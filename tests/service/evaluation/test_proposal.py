"""Proposing knobs and priors from a log."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bandit.knobs import Knobs
from service.evaluation.proposal import Changes, EstimatedPrior, Proposal, propose, steps_of, too_few
from tests.service.evaluation.test_evaluate import EVEN, candidate_of, rounds_of, use
from tests.service.world import ARMS, opened

LISTED = [arm.arm_id for arm in ARMS]


async def proposed(folder: Path, n: int, steps: Sequence[Changes], **knobs: Any) -> Proposal:
    async with opened(folder, **knobs) as world:
        await use(world, n)
        return await propose(rounds_of(world), candidate_of(world), steps, with_priors=LISTED)


async def test_less_exploration_is_proposed_where_the_log_shows_that_it_costs(tmp_path: Path) -> None:
    steps = [Changes({"exploration_rate": 0.4})]
    quality_alone = {"feedback_weight": 1.0, "latency_weight": 0.0, "cost_weight": 0.0}

    proposal = await proposed(tmp_path, 600, steps, **EVEN, **quality_alone)

    assert proposal.is_better, (proposal.changes, proposal.gain)
    assert proposal.changes.knobs == {"exploration_rate": 0.4}
    assert proposal.gain is not None
    assert 0 < proposal.gain.low < proposal.gain.value < proposal.gain.high
    assert proposal.evaluation.n_rounds == 300


async def test_a_log_that_cannot_tell_proposes_nothing(tmp_path: Path) -> None:
    proposal = await proposed(tmp_path, 60, [Changes({"exploration_rate": 0.5})])

    assert not proposal.is_better


def test_steps_are_near_the_running_knobs_and_leave_the_weights() -> None:
    steps = [dict(step.knobs) for step in steps_of(Knobs())]

    assert {"propensity_floor": 0.0004} in steps
    assert {"max_similar_requests": 50} in steps
    assert {"exploration_rate": 0.0} not in steps  # it is 0
    names = {name for step in steps for name in step}
    assert not names & {"feedback_weight", "latency_weight", "cost_weight", "budget_usd_per_request"}


async def test_a_range_with_few_decisions_is_refused_with_their_number(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        await use(world, 3)

        assert too_few(rounds_of(world)) == (
            "the range has 3 decisions that can be decided again, and 40 are needed"
        )


async def test_changes_apply_to_the_configuration_and_add_up(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        changes = Changes({"exploration_rate": 0.1}) + Changes(priors={"small": EstimatedPrior(0.6, 12.0)})

        changed = changes.applied(candidate_of(world))

    assert changed.knobs.exploration_rate == pytest.approx(0.1)
    small, medium, _ = changed.arms
    assert (small.prior_quality, small.prior_mass) == (0.6, 12.0)
    assert medium == ARMS[1]
