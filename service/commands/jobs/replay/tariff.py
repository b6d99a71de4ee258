"""Prices and token counts that reproduce a model's recorded dollars.

A record has dollars per answer; a router has tokens and a price. Prompt tokens are characters / 4. The prices
and the completion tokens are chosen so that the error of rounding to whole tokens is small:

    input price   = half of the least recorded dollars per prompt token,
                    so that a prompt never costs more than half of its answer's dollars
    output price  = 1 % of the least recorded dollars above zero
    completion    = round((dollars - input price * prompt tokens) / output price)

An answer then has at least 50 completion tokens, half a token of rounding is at most 0.5 % of its
dollars, and `price * tokens` gives the recorded dollars. The prices are no list prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.commands.jobs.replay.outcomes import Floats, Outcomes
from service.domain.basics import Json

CHARS_PER_TOKEN = 4
CONTEXT_WINDOW = 1_000_000  # recorded answers have no limit


@dataclass(frozen=True, slots=True)
class Tariff:
    """One model's prices, in US dollars per million tokens."""

    input: float
    output: float

    def completion_tokens(self, prompt_tokens: int, cost_usd: float) -> int:
        """The number of completion tokens with which a request costs `cost_usd`."""
        remainder = cost_usd * 1e6 - self.input * prompt_tokens
        return max(round(remainder / self.output), 0) if self.output else 0


def count_tokens(text: str) -> int:
    return max(round(len(text) / CHARS_PER_TOKEN), 1)


def tariffs(outcomes: Outcomes) -> dict[str, Tariff]:
    """The prices of every recorded model."""
    prompt_tokens = np.array([count_tokens(prompt) for prompt in outcomes.prompts], dtype=np.float64)
    columns = zip(outcomes.models, outcomes.costs_usd.T, strict=True)
    return {model: _tariff(costs_usd, prompt_tokens) for model, costs_usd in columns}


def arms_for(outcomes: Outcomes, base_url: str) -> list[Json]:
    """The `models:` entries of a router whose arms are the recorded models.

    They have no prior quality, so that a replay shows learning without priors.

    Args:
        outcomes: the record.
        base_url: of the recorded upstream, with `/v1`.
    """
    return [
        {
            "id": model,
            "provider": "openai",
            "base_url": base_url,
            "model": model,
            "price": {"input": tariff.input, "output": tariff.output},
            "context_window": CONTEXT_WINDOW,
        }
        for model, tariff in tariffs(outcomes).items()
    ]


def router_settings(outcomes: Outcomes, base_url: str) -> Json:
    """A router's configuration for a replay: the recorded models as arms.

    Latency has no weight: the record has none, and that of an upstream on the same machine is noise. The
    budget is half the cost of a random choice. Without a budget, the best arm for the default weights can
    cost more than a random choice.
    """
    return {
        "latency_weight": 0.0,
        "budget_usd_per_request": _six_digits(float(outcomes.costs_usd.mean()) / 2) or None,
        "models": arms_for(outcomes, base_url),
    }


def _tariff(costs_usd: Floats, prompt_tokens: Floats) -> Tariff:
    above_zero = costs_usd[costs_usd > 0]
    least = float(above_zero.min()) if above_zero.size else 0.0
    input_usd = float((costs_usd / prompt_tokens).min()) / 2
    return Tariff(input=_six_digits(input_usd * 1e6), output=_six_digits(least / 100 * 1e6))


def _six_digits(value: float) -> float:
    return float(f"{value:.6g}")
