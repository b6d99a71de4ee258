"""LiteLLM's adaptive router: a Beta posterior per arm and type of request, by regular expressions.

Its own functions classify the request, set the prior, choose and update. Only the scores come from the
stream; its proxy would guess them from the user's next message.
"""

from __future__ import annotations

import os
from random import Random

from bandit.arrays import Ints
from benchmarks.learner import registry
from benchmarks.rivals.playing import play
from benchmarks.streams import Stream


def adaptive_router(stream: Stream, lam: float, seed: int) -> Ints:
    """Each arm has the quality tier nearest to its registry figure; the weights are those of the utility."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise its import uses the network
    from litellm.router_strategy.adaptive_router.bandit import apply_delta, initial_cell, pick_best
    from litellm.router_strategy.adaptive_router.classifier import classify_prompt
    from litellm.router_strategy.adaptive_router.config import BASE_TIER_WEIGHT
    from litellm.types.router import AdaptiveRouterPreferences

    rng = Random(seed)
    prices = {str(arm): float(price) for arm, price in enumerate(stream.price)}
    # From the cheapest arm to the most expensive, its cost score falls by 1 and the utility by lam times the
    # difference of their prices.
    cost_weight = lam * float(stream.price.max() - stream.price.min())
    scale = 1.0 + cost_weight
    kinds = [classify_prompt(prompt) for prompt in stream.prompts]
    cells = {}
    for arm, quality in enumerate(registry(stream, seed)):
        tier = min(BASE_TIER_WEIGHT, key=lambda tier: abs(BASE_TIER_WEIGHT[tier] - quality))
        for kind in set(kinds):
            cells[kind, str(arm)] = initial_cell(AdaptiveRouterPreferences(quality_tier=tier), kind)

    def choose(t: int) -> int:
        of_kind = {name: cells[kinds[t], name] for name in prices}
        return int(pick_best(of_kind, prices, 1.0 / scale, cost_weight / scale, rng))

    def learn(t: int, arm: int, score: float) -> None:
        key = kinds[t], str(arm)
        cells[key] = apply_delta(cells[key], score, 1.0 - score)

    return play(stream, choose, learn)
