"""What must hold of a short run, or the learner is broken; with margins, for it is one seed."""

from __future__ import annotations

import numpy as np

from bandit.budget import PURSE_LIMIT
from benchmarks.measures import Row

SHARE_OF_RANDOM = 0.6  # of random's distance to the best arm that the learner may have left
DRAWS_Z = 4.5  # standard errors


def faults(rows: list[Row]) -> list[str]:
    """Say what is wrong, a line for each; nothing where all is well."""
    from_sums = [r for r in rows if r["measure"] == "stationary"]
    ours = [r for r in from_sums if r["policy"].startswith("ours")]
    found = []
    if not ours:
        found.append("nothing was measured")
    at_random = _mean_gap(from_sums, "random")
    for policy in sorted({r["policy"] for r in ours}):
        gap = _mean_gap(from_sums, policy)
        if gap < SHARE_OF_RANDOM * at_random:
            found.append(f"{policy}: gap {gap:.1f}, hardly better than random's {at_random:.1f}")
    for r in ours:
        if not 0 < r["least_propensity"] <= r["largest_propensity"] <= 1 + 1e-9:
            found.append(f"{r['policy']}, λ = {r['lam']:.2f}: propensities are no probabilities")
        if abs(r["draws_z"]) > DRAWS_Z:
            found.append(f"{r['policy']}, λ = {r['lam']:.2f}: arms are not drawn by their propensities")
    for r in rows:
        if (r["measure"], r["policy"]) == ("budget", "plain"):
            most = 1 + PURSE_LIMIT / (r["n"] // 3)
            if r["worst_phase"] > most:
                found.append(
                    f"ceiling {r['ceiling']:.4f}: spent {r['worst_phase']:.3f} of it, {most:.3f} at most"
                )
    return found


def _mean_gap(rows: list[Row], policy: str) -> float:
    return float(np.mean([r["gap"] for r in rows if r["policy"] == policy]))
