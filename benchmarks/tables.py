"""Tables of the measured rows, as text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.measures.task import Row
from benchmarks.summary import mean_over


def text(rows: list[Row], lines: list[Row], command: str) -> str:
    out = [command, "", f"{'measure':<58}{'value':>10}{'±':>8}{'first system':>14}"]
    for r in lines:
        error = "" if r["error"] is None else f"{r['error']:.2g}"
        first = "" if r["first_system"] is None else f"{r['first_system']:.1f}"
        out.append(f"{r['measure']:<58}{r['value']:>10.4g}{error:>8}{first:>14}")
    if stationary := [r for r in rows if r["measure"] == "stationary"]:
        out += ["", "gap x 1000 by set, mean over λ and seeds", *_cross(stationary, lambda r: str(r["pool"]))]
        out += [
            "",
            "gap x 1000 by λ, mean over sets and seeds",
            *_cross(stationary, lambda r: f"λ = {r['lam']:.2f}"),
        ]
    out += _coderouter([r for r in rows if r["measure"] == "coderouter"])
    return "\n".join(out) + "\n"


def _coderouter(rows: list[Row]) -> list[str]:
    """One table for each pair of weights."""
    keys = ("utility", "utility_of_last_third", "reward", "reward_of_last_third", "usd", "seconds")
    heads = ("utility", "its last third", "reward", "its last third", "dollars", "seconds")
    out = []
    for lam, latency_weight in dict.fromkeys((r["lam"], r["latency_weight"]) for r in rows):
        own = [r for r in rows if (r["lam"], r["latency_weight"]) == (lam, latency_weight)]
        out += ["", f"coderouter, λ = {lam:.2f}, weight of speed {latency_weight:.2f}"]
        out.append(" " * 28 + "".join(f"{head:>16}" for head in heads))
        for policy in dict.fromkeys(r["policy"] for r in own):
            means = [mean_over([r for r in own if r["policy"] == policy], key)[0] for key in keys]
            out.append(f"{policy:<28}" + "".join(f"{mean:>16.4g}" for mean in means))
    return out


def _cross(rows: list[Row], column: Callable[[Row], str]) -> list[str]:
    policies = list(
        dict.fromkeys(r["policy"] for r in rows if not r["policy"].startswith("fixed arm, rank 1"))
    )
    columns = list(dict.fromkeys(column(r) for r in rows))
    out = [" " * 28 + "".join(f"{c:>20}" for c in columns) + f"{'mean':>10}"]
    for policy in policies:
        cells = []
        for c in columns:
            values = [r["gap"] for r in rows if r["policy"] == policy and column(r) == c]
            cells.append(f"{np.mean(values):>20.1f}" if values else " " * 20)
        mean = mean_over([r for r in rows if r["policy"] == policy], "gap")[0]
        out.append(f"{policy:<28}" + "".join(cells) + f"{mean:>10.1f}")
    return out
