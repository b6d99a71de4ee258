"""The table and the chart of the encoders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.encoders.worth import Difference
from benchmarks.measures.task import Row

TOKENS = (8, 20, 60, 128, 200, 256)


def table(rows: list[Row], sets: list[str], command: str) -> str:
    out = [command, "", "CPU, microseconds a text", "", _line("tokens", [str(n) for n in TOKENS])]
    out += [_line(row["encoder"], [f"{us:.0f}" for us in row["cpu_us"].values()]) for row in rows]
    for title, key in (
        ("squared error of the scores of the nearest prompts, x 1000, minus that of the first row", "error"),
        ("the learner's gap to the best arm, x 1000, minus that of the first row", "gap"),
    ):
        out += ["", title, "", _line("", sets)]
        out += [_line(row["encoder"], [_shown(row[key].get(name)) for name in sets]) for row in rows]
    return "\n".join(out) + "\n"


def draw(rows: list[Row], sets: list[str], path: Path) -> None:
    """Cost against worth, one point for each encoder and a line for each set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(10, 4.2), dpi=150, sharex=True)
    titles = {"error": "error of foretold scores", "gap": "learner's gap to the best arm"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        shown = [row for row in rows if row["encoder"] != "chance" and row[key]]
        for name in sets:
            points = [(row["cpu_us"]["20"], row[key][name]) for row in shown]
            axes.errorbar(
                [us for us, _ in points],
                [difference.mean for _, difference in points],
                [difference.error for _, difference in points],
                fmt="o-",
                capsize=3,
                markersize=4,
                label=name,
            )
        for row in shown:
            axes.axvline(row["cpu_us"]["20"], color="lightgrey", linewidth=0.6, zorder=0)
            axes.annotate(
                row["encoder"],
                (row["cpu_us"]["20"], 1.0),
                xycoords=("data", "axes fraction"),
                rotation=30,
                fontsize=7,
            )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set(xscale="log", xlabel="CPU of a text of 20 tokens, µs")
        axes.set_ylabel(f"{title}, x 1000,\nminus that of MiniLM in float32", fontsize=8)
    panels[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def as_json(row: Row) -> Row:
    """The row with its differences as pairs of numbers."""
    pairs = {key: {name: [d.mean, d.error] for name, d in row[key].items()} for key in ("error", "gap")}
    return {**row, **pairs}


def paired(values: dict[str, list[float]], reference: dict[str, list[float]]) -> dict[str, Difference]:
    """The differences of each set."""
    return {name: Difference.of(np.subtract(own, reference[name])) for name, own in values.items()}


def _line(head: str, cells: list[str]) -> str:
    return f"{head:<28}" + "".join(f"{cell:>17}" for cell in cells)


def _shown(difference: Difference | None) -> str:
    return "" if difference is None else f"{difference.mean:+.2f} ± {difference.error:.2f}"
