"""ParetoBandit 0.1.1: a discounted LinUCB per arm, and a pacer for a budget.

The benchmark uses its public API, on our vectors in its own projection to 25 components, which was fitted to
vectors of the same encoder.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from pareto_bandit import BanditRouter
from pareto_bandit.budget_pacer import BudgetPacer
from pareto_bandit.config import BEST_K3_TABULA_RASA_HPARAMS, DEFAULT_PCA_PATH
from pareto_bandit.feature_service import FeatureService

from bandit.arrays import Floats, Ints
from benchmarks.learner import registry
from benchmarks.rivals.playing import play
from benchmarks.streams import Stream

TOKENS_PER_REQUEST = 600  # its own assumption; it requires prices per million tokens
PRIOR_MASS = 100.0  # observations that a registry figure is worth: the best of 5, 20 and 100 for it
SHIPPED = "mistralai/mistral-large-2512"  # one of the three arms whose priors it ships


@dataclass(frozen=True, slots=True)
class FixedPrice:
    """A pacer with the utility's own fixed price of each arm's dollars.

    Its router has a fixed price too, but on the logarithm of a list price, which is another utility.
    """

    penalties: dict[str, float]
    uses_hard: bool = False
    uses_soft: bool = True
    lambda_t: float = 1.0
    cost_ema: float = 0.0

    def get_extra_cost_penalties(self, model_costs: dict[str, float]) -> dict[str, float]:
        return {arm: self.penalties[arm] for arm in model_costs}

    def observe(self, actual_cost_usd: float) -> None:
        """Ignore the spend."""


def cold(stream: Stream, lam: float, seed: int) -> Ints:
    return _routed(stream, lam, seed, is_cold=True)


def warm(stream: Stream, lam: float, seed: int) -> Ints:
    return _routed(stream, lam, seed, is_cold=False)


def _routed(stream: Stream, lam: float, seed: int, *, is_cold: bool) -> Ints:
    pacer = FixedPrice(dict(zip(stream.arms, (lam * stream.price).tolist(), strict=True)))
    router, features = _router(stream, seed, pacer, is_cold=is_cold), _features(stream)
    logs: list[Any] = []

    def choose(t: int) -> int:
        arm, log = router.route(features[t])
        logs.append(log)
        return stream.arms.index(arm)

    def learn(t: int, arm: int, score: float) -> None:
        router.process_feedback(logs[t].request_id, reward=score)

    return play(stream, choose, learn)


def paced(
    stream: Stream, ceiling: float, seed: int, factors: Floats | None, *, is_cold: bool
) -> tuple[Ints, Floats]:
    """Keep a ceiling with its pacer, as in its demonstration; price changes are announced to its registry."""
    pacer = BudgetPacer(target_avg_spend_usd=ceiling * stream.unit_usd)
    router, features = _router(stream, seed, pacer, is_cold=is_cold), _features(stream)
    n, n_arms = stream.shape
    factor = np.ones((n, n_arms)) if factors is None else factors
    chosen, spent = np.zeros(n, dtype=np.int64), np.zeros(n)
    for t in range(n):
        if t and (changed := np.flatnonzero(factor[t] != factor[t - 1])).size:
            for a in changed.tolist():
                router.update_model_pricing(stream.arms[a], **_prices(stream, a, float(factor[t, a])))
        name, log = router.route(features[t])
        chosen[t] = arm = stream.arms.index(name)
        spent[t] = stream.costs[t, arm] * factor[t, arm]
        log.cost_usd = spent[t] * stream.unit_usd
        router.process_feedback(log.request_id, reward=float(stream.scores[t, arm]))
    return chosen, spent


def _router(stream: Stream, seed: int, pacer: Any, *, is_cold: bool) -> Any:
    """Create its router for a cold start, or with shipped priors or else registry figures."""
    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
    known = {
        name: {**_prices(stream, arm, 1.0), "initial_quality": float(quality)}
        for arm, (name, quality) in enumerate(zip(stream.arms, registry(stream, seed), strict=True))
    }
    start: dict[str, Any] = {"priors": "warmup"}
    if is_cold:
        start = {"priors": "none", "alpha": BEST_K3_TABULA_RASA_HPARAMS["alpha"]}
    elif SHIPPED not in known:
        start["prior_n_effective"] = PRIOR_MASS
    return BanditRouter.create(
        model_registry=known,
        feature_service=FeatureService.for_precomputed(_features(stream).shape[1]),
        cost_penalty=0.0,
        budget_pacer=pacer,
        bandit_seed=seed,
        **start,
    )


def _prices(stream: Stream, arm: int, factor: float) -> dict[str, float]:
    """Dollars per million tokens at which a request of TOKENS_PER_REQUEST costs this arm's mean price."""
    usd = float(stream.price[arm] * factor * stream.unit_usd) / TOKENS_PER_REQUEST * 1e6
    return {"input_cost_per_m": usd, "output_cost_per_m": usd}


def _features(stream: Stream) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another version of scikit-learn pickled its projection
        service = FeatureService(
            custom_encoder=lambda position: stream.contexts[int(position)],
            embedding_dim=stream.contexts.shape[1],
            pca_path=DEFAULT_PCA_PATH,
        )
        positions = [str(t) for t in range(stream.shape[0])]
        return np.asarray(service.extract_features_batch(positions), dtype=np.float64)
