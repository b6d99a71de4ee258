"""Vowpal Wabbit: a contextual bandit with SquareCB, on the prompt's vector crossed with the arm's name."""

from __future__ import annotations

import numpy as np
from vowpalwabbit import Workspace

from bandit.arrays import Ints
from benchmarks.rivals.playing import play
from benchmarks.streams import Stream

OPTIONS = "--cb_explore_adf --squarecb --quadratic ca --quiet"


def vowpal_wabbit(stream: Stream, lam: float, seed: int) -> Ints:
    """Without priors. It minimises 1 - score + lam cost, so it learns dollars from spending.

    Source: Foster & Rakhlin (2020), Beyond UCB: Optimal and Efficient Contextual Bandits with Regression
    Oracles, ICML.
    """
    n, n_arms = stream.shape
    rng = np.random.default_rng(seed)
    arms = [f"|a arm={arm}" for arm in range(n_arms)]
    propensity = np.zeros(n)
    workspace = Workspace(f"{OPTIONS} --random_seed {seed}")

    def shared(t: int) -> str:
        return "shared |c " + " ".join(f"{i}:{x:.4f}" for i, x in enumerate(stream.contexts[t].tolist()))

    def choose(t: int) -> int:
        chances = np.array(workspace.predict([shared(t), *arms]))
        arm = int(rng.choice(n_arms, p=chances / chances.sum()))
        propensity[t] = chances[arm]
        return arm

    def learn(t: int, arm: int, score: float) -> None:
        cost = 1.0 - score + lam * float(stream.costs[t, arm])
        labelled = f"0:{cost}:{propensity[t]} {arms[arm]}"
        workspace.learn([shared(t), *arms[:arm], labelled, *arms[arm + 1 :]])

    chosen = play(stream, choose, learn)
    workspace.finish()
    return chosen
