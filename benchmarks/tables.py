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
    stationary = [r for r in rows if r["measure"] == "stationary"]
    if not stationary:
        return "\n".join(out) + "\n"
    out += ["", "gap x 1000 by set, mean over λ and seeds", *_cross(stationary, lambda r: str(r["pool"]))]
    out += [
        "",
        "gap x 1000 by λ, mean over sets and seeds",
        *_cross(stationary, lambda r: f"λ = {r['lam']:.2f}"),
    ]
    return "\n".join(out) + "\n"


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
