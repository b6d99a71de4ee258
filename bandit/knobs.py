"""The learner's knobs."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Knobs:
    """The learner's settings that an operator can change. The defaults come from recorded outcomes.

    Raises:
        ValueError: a value is out of its range.
    """

    feedback_weight: float = 0.6  # of quality in the utility
    latency_weight: float = 0.2  # of speed
    cost_weight: float = -0.2  # of dollars, scaled among the eligible arms
    exploration_rate: float = 0.0  # share of requests that try an arm other than the sampled best
    propensity_floor: float = 0.0002  # least probability of an eligible arm
    similarity_threshold: float = 0.0  # cosine below which a past request is no neighbour
    max_similar_requests: int = 100  # prompts whose outcomes count as neighbours
    recency_days: float = 30.0  # age above which a past request is no neighbour
    min_similar_requests: int = 5  # with fewer prompts only global evidence counts
    min_confidence_score: float = 0.1  # below this mean reward the default arm replaces an arm
    optimistic_prior: float = 0.8  # level of rewards before the first; arms of unknown quality start from it
    optimistic_prior_mass: float = 10.0  # in observations
    exploration_bonus: float = 0.0  # added to the reward of an arm without evidence
    min_requests_for_global: float = 10.0  # rated requests after which the bonus is 0
    budget_usd_per_request: float | None = None

    def __post_init__(self) -> None:
        for name, low, high in (
            ("feedback_weight", 0.0, math.inf),
            ("latency_weight", 0.0, math.inf),
            ("cost_weight", -math.inf, 0.0),
            ("exploration_rate", 0.0, 1.0),
            ("propensity_floor", 0.0, 1.0),
            ("similarity_threshold", -1.0, 1.0),
            ("max_similar_requests", 0, math.inf),
            ("min_similar_requests", 0, math.inf),
            ("min_confidence_score", 0.0, 1.0),
            ("optimistic_prior", 0.0, 1.0),
            ("exploration_bonus", 0.0, math.inf),
            ("min_requests_for_global", 0.0, math.inf),
        ):
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise ValueError(f"{name} must be {_rule(low, high)}, got {value}")
        for name in ("recency_days", "optimistic_prior_mass", "budget_usd_per_request"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be finite and above 0, got {value}")


def _rule(low: float, high: float) -> str:
    if math.isinf(high):
        return f"finite and at least {low:g}"
    if math.isinf(low):
        return f"finite and at most {high:g}"
    return f"in [{low:g}, {high:g}]"
