"""Checks that a short run of a working learner passes; their margins are wide, because it is one seed."""

from __future__ import annotations

import numpy as np

from bandit.budget import PURSE_LIMIT
from benchmarks.measures.task import Row

SHARE_OF_RANDOM = 0.6  # largest gap of the learner, as a share of the gap of random choice
DRAWS_Z = 4.5  # standard errors
KNOWLEDGE = {"public priors", "calibration"}  # measures of the plain stream with other knowledge
KEPT = 0.5  # least utility after an arm's recovery, relative to that before its failure


def faults(rows: list[Row]) -> list[str]:
    """Return one line for each fault."""
    stationary = [r for r in rows if r["measure"] == "stationary"]
    ours = [r for r in stationary if r["policy"].startswith("ours")]
    found = []
    if not ours:
        found.append("nothing was measured")
    random_gap = _mean_gap(stationary, "random")
    pools = {r["pool"] for r in ours}
    plain = ours + [r for r in rows if r["measure"] in KNOWLEDGE and r["pool"] in pools]
    for policy in sorted({r["policy"] for r in plain}):
        gap = _mean_gap(plain, policy)
        if gap < SHARE_OF_RANDOM * random_gap:
            found.append(f"{policy}: gap {gap:.1f}, hardly better than random's {random_gap:.1f}")
    for r in ours:
        if not 0 < r["least_propensity"] <= r["largest_propensity"] <= 1 + 1e-9:
            found.append(f"{r['policy']}, λ = {r['lam']:.2f}: propensities are no probabilities")
        if abs(r["draws_z"]) > DRAWS_Z:
            found.append(f"{r['policy']}, λ = {r['lam']:.2f}: arms are not drawn by their propensities")
    for r in rows:
        if r["measure"] == "recovery" and r["kept"] < KEPT:
            found.append(f"{r['policy']}, λ = {r['lam']:.2f}: keeps {r['kept']:.2f} after a recovery")
        if (r["measure"], r["policy"]) == ("heavy tails", "ours, none") and r["gap"] < random_gap:
            found.append(f"heavy tails, λ = {r['lam']:.2f}: gap {r['gap']:.1f}, below random's")
        if (r["measure"], r["policy"]) == ("budget", "plain"):
            most = 1 + PURSE_LIMIT / (r["n"] // 3)
            if r["worst_phase"] > most:
                found.append(
                    f"ceiling {r['ceiling']:.4f}: spent {r['worst_phase']:.3f} of it, limit {most:.3f}"
                )
    return found


def _mean_gap(rows: list[Row], policy: str) -> float:
    return float(np.mean([r["gap"] for r in rows if r["policy"] == policy]))
