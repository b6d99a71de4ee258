"""Recorded outcomes: prompts that every model answered, with each model's score and dollars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.commands.jobs.replay.extra import require_extra
from service.errors import StartupError

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The score and dollars of every model for every prompt; no prompt occurs twice."""

    prompts: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats  # (n, n_models), in [0, 1]
    costs_usd: Floats  # (n, n_models)
    categories: tuple[str, ...]  # for analysis only; the router does not see them


def read_outcomes(path: Path) -> Outcomes:
    """Read a Parquet file with the columns `prompt`, `score:<model>`, `cost:<model>`, optionally `category`.

    A repeated prompt keeps its first row, because the upstream finds rows by prompt.

    Raises:
        StartupError: the `replay` extra is not installed, or the file has another form.
    """
    require_extra()
    import pyarrow  # type: ignore[import-untyped]  # pyarrow has no types
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pyarrow.ArrowException) as error:
        raise StartupError(f"{path}: cannot be read as Parquet: {' '.join(str(error).split())}") from error
    models = tuple(n.removeprefix("score:") for n in table.column_names if n.startswith("score:"))
    required = {"prompt", *(f"cost:{model}" for model in models)}
    if not models or required - set(table.column_names):
        raise StartupError(
            f"{path}: needs the columns prompt, score:<model> and cost:<model>, got {table.column_names[:8]}"
        )
    prompts = table["prompt"].to_pylist()
    if not prompts or not all(isinstance(prompt, str) and prompt for prompt in prompts):
        raise StartupError(f"{path}: needs at least one row, and a text in every row of `prompt`")
    first = {prompt: row for row, prompt in reversed(list(enumerate(prompts)))}
    rows = sorted(first.values())
    has_topics = "category" in table.column_names
    categories = table["category"].to_pylist() if has_topics else [""] * len(prompts)
    return Outcomes(
        prompts=tuple(prompts[row] for row in rows),
        models=models,
        scores=_numbers(table, "score", models, most=1.0, path=path)[rows],
        costs_usd=_numbers(table, "cost", models, most=np.inf, path=path)[rows],
        categories=tuple(str(categories[row]) for row in rows),
    )


def _numbers(table: Any, kind: str, models: tuple[str, ...], *, most: float, path: Path) -> Floats:
    columns = []
    for model in models:
        try:
            column = np.asarray(table[f"{kind}:{model}"].to_numpy(), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise StartupError(f"{path}: column {kind}:{model} must hold numbers") from error
        if not np.all((column >= 0) & (column <= most) & np.isfinite(column)):
            raise StartupError(f"{path}: column {kind}:{model} must be in [0, {most:g}] and never empty")
        columns.append(column)
    return np.column_stack(columns)
