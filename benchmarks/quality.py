"""The gap between the learner and the best arm in hindsight, on recorded outcomes.

    python -m benchmarks.quality --data FOLDER
    python -m benchmarks.quality --smoke

The folder contains `<set>.parquet`, with the columns `prompt`, `score:MODEL` and `cost:MODEL`. Vectors come
from `<set>.emb.npz` or from the service's encoder. The streams run through the service's learner, in process.
Tables and charts go to benchmarks/results/. The smoke test takes less than a minute, on made-up outcomes, and
fails if the learner is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from benchmarks.charts import draw_charts
from benchmarks.decision import decision_cpu
from benchmarks.measures.table import MEASURES, measure
from benchmarks.measures.task import Row, Task
from benchmarks.pools import pools_of
from benchmarks.rivals.table import missing
from benchmarks.sets import set_names
from benchmarks.smoke import faults
from benchmarks.streams import N_REQUESTS
from benchmarks.summary import summarise
from benchmarks.tables import text
from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.output import progress_bar

FRESH = 8000  # seeds from here on were not used during the learner's development
RESULTS = Path(__file__).parent / "results"


def tasks_of(folder: Path, seeds: range, n: int, measures: list[str], rivals: bool) -> list[Task]:
    """Every measure on its pools, by every seed."""
    return [
        replace(pool, seed=seed, n=n, rivals=rivals)
        for measure_name in measures
        for pool in pools_of(folder, measure_name)
        for seed in seeds
    ]


def run(tasks: list[Task], n_jobs: int) -> list[Row]:
    rows: list[Row] = []
    # Streams of one set and seed share their neighbours, so one worker plays them all.
    groups: dict[tuple[str, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.name, task.seed), []).append(task)
    with ProcessPoolExecutor(n_jobs) as pool, progress_bar() as progress:
        futures = {pool.submit(measure_all, group): len(group) for group in groups.values()}
        n_done = 0
        for future in as_completed(futures):
            rows += future.result()
            n_done += futures[future]
            progress(n_done, len(tasks))
    return sorted(rows, key=lambda r: (r["measure"], r["pool"], r["seed"], r["lam"], r["policy"]))


def measure_all(tasks: list[Task]) -> list[Row]:
    return [row for task in tasks for row in measure(task)]


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    folder = options.data or (DEMO_FILE.parent if options.smoke else None)
    if folder is None or not set_names(folder):
        print(f"--data must be a folder with <set>.parquet files, got {folder}", file=sys.stderr)
        return 2
    n_seeds, n = (1, 400) if options.smoke else (options.seeds, options.requests)
    seeds = range(options.first_seed, options.first_seed + n_seeds)
    has_rivals = options.smoke or not options.no_rivals  # the smoke test compares with them
    if has_rivals and missing():
        names = " and ".join(missing())
        print(f"{names} not installed: install requirements-rivals.txt to compare with them")
    is_whole = options.measures == list(MEASURES)
    cpu = decision_cpu(n=30 if options.smoke else 300) if is_whole else {}
    rows = run(tasks_of(folder, seeds, n, options.measures, has_rivals), options.jobs)
    lines = summarise(rows, cpu)
    command = (
        f"python -m benchmarks.quality --seeds {n_seeds} --first-seed {options.first_seed} --requests {n}"
    )
    report = text(rows, lines, f"{command}    (seeds {seeds[0]} to {seeds[-1]})")
    print(report)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "quality.txt").write_text(report)
    numbers = [{k: v for k, v in row.items() if k not in {"curve", "arms"}} for row in rows]
    (options.out / "quality.json").write_text(
        json.dumps({"command": command, "summary": lines, "rows": numbers}) + "\n"
    )
    draw_charts(rows, n, options.out)
    found = faults(rows) if options.smoke else []
    for fault in found:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <set>.parquet; --smoke has its own")
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=FRESH, help="first of the consecutive seeds")
    parser.add_argument("--requests", type=int, default=N_REQUESTS, help="largest number per stream")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--smoke", action="store_true", help="one seed, short streams; fails on a fault")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
