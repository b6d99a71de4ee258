"""How near the learner comes to the best arm in hindsight, on recorded outcomes.

    python -m benchmarks.quality --data FOLDER
    python -m benchmarks.quality --smoke

The folder holds `<set>.parquet`, with the columns `prompt`, `score:MODEL` and `cost:MODEL`; vectors come from
`<set>.emb.npz` or from our own encoder. The streams go through the service's own learner, in process. Tables
and charts go to benchmarks/results/. The smoke takes less than a minute, on made-up outcomes, and fails when
the learner is broken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.charts import draw_charts
from benchmarks.decision import decision_cpu
from benchmarks.measures import MEASURES, Row, Task, measure
from benchmarks.rivals.table import missing
from benchmarks.smoke import faults
from benchmarks.streams import N_REQUESTS, read_set, set_names
from benchmarks.tables import summarise, text
from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.output import progress_bar

SMALL_POOL = 5
FRESH = 8000  # seeds from here on were not looked at while the learner was made
RESULTS = Path(__file__).parent / "results"
# Measures that take long are for the set that says most; where it is missing, `budget` is for every set.
LONG_SET, BUDGET_SET = "llmrouter", "judged"


def tasks_of(folder: Path, seeds: range, n: int, measures: list[str], rivals: bool) -> list[Task]:
    """Every set with all its arms, and with five of them where it has more."""
    names = set_names(folder)
    chosen = {"long": {LONG_SET}, "task tags": {LONG_SET}, "budget": {BUDGET_SET} & set(names) or set(names)}
    tasks = []
    for name in names:
        n_arms = len(read_set(folder, name).arms)
        pools = [None, SMALL_POOL] if n_arms > SMALL_POOL else [None]
        for seed in seeds:
            for pool in pools:
                for what in measures:
                    if name in chosen.get(what, names) and not (what == "budget" and pool):
                        tasks.append(Task(what, folder, name, pool, seed, n, rivals))
    return tasks


def run(tasks: list[Task], n_jobs: int) -> list[Row]:
    rows: list[Row] = []
    # Streams of one set and seed share their neighbours, so they go to one worker together.
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
    given = _parser().parse_args(arguments)
    folder = given.data or (DEMO_FILE.parent if given.smoke else None)
    if folder is None or not set_names(folder):
        print(f"--data must be a folder with <set>.parquet files, got {folder}", file=sys.stderr)
        return 2
    n_seeds, n = (1, 400) if given.smoke else (given.seeds, given.requests)
    seeds = range(given.first_seed, given.first_seed + n_seeds)
    has_rivals = given.smoke or not given.no_rivals  # the smoke is measured by them
    if has_rivals and missing():
        print(f"without {' and '.join(missing())}: install requirements-rivals.txt to compare with them")
    cpu = decision_cpu(n=30 if given.smoke else 300)
    rows = run(tasks_of(folder, seeds, n, given.measures, has_rivals), given.jobs)
    lines = summarise(rows, cpu)
    command = f"python -m benchmarks.quality --seeds {n_seeds} --first-seed {given.first_seed} --requests {n}"
    report = text(rows, lines, f"{command}    (seeds {seeds[0]} to {seeds[-1]})")
    print(report)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "quality.txt").write_text(report)
    from_sums = [{k: v for k, v in row.items() if k not in {"curve", "arms"}} for row in rows]
    (given.out / "quality.json").write_text(
        json.dumps({"command": command, "summary": lines, "rows": from_sums}) + "\n"
    )
    draw_charts(rows, n, given.out)
    found = faults(rows) if given.smoke else []
    for fault in found:
        print(f"FAULT: {fault}", file=sys.stderr)
    return 1 if found else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of <set>.parquet; the smoke brings its own")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument(
        "--first-seed", type=int, default=FRESH, help="of the seeds, which follow one another"
    )
    parser.add_argument("--requests", type=int, default=N_REQUESTS, help="of a stream, or all there are")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--smoke", action="store_true", help="one seed, short streams; fails on a fault")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
