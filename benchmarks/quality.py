"""How near the learner comes to the best arm in hindsight, on recorded outcomes.

    python -m benchmarks.quality --data FOLDER [--smoke]

The folder holds `<set>.parquet` and `<set>.emb.npz`. The streams go through the service's own learner, in
process. Tables and charts go to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.charts import draw_charts
from benchmarks.measures import MEASURES, Row, Task, decision_cpu, measure
from benchmarks.streams import N_REQUESTS, read_set, set_names
from benchmarks.tables import summarise, text

SMALL_POOL = 5
RESULTS = Path(__file__).parent / "results"


def tasks_of(folder: Path, n_seeds: int, n: int, measures: list[str], rivals: bool) -> list[Task]:
    """Every set with all its arms, and with five of them where it has more."""
    tasks = []
    for name in set_names(folder):
        pools = [None, SMALL_POOL] if len(read_set(folder, name).arms) > SMALL_POOL else [None]
        for seed in range(n_seeds):
            for n_arms in pools:
                for what in measures:
                    is_for = {
                        "long": name == "llmrouter",
                        "task tags": name == "llmrouter" and n_arms is None,
                        "budget": name == "judged",
                    }
                    if is_for.get(what, True):
                        tasks.append(Task(what, folder, name, n_arms, seed, n, rivals))
    return tasks


def run(tasks: list[Task], n_jobs: int) -> list[Row]:
    from tqdm import tqdm

    rows: list[Row] = []
    # Streams of one set and seed share their neighbours, so they go to one worker together.
    groups: dict[tuple[str, int], list[Task]] = {}
    for task in tasks:
        groups.setdefault((task.name, task.seed), []).append(task)
    with ProcessPoolExecutor(n_jobs) as pool, tqdm(total=len(tasks), unit="stream", disable=None) as bar:
        futures = {pool.submit(measure_all, group): len(group) for group in groups.values()}
        for future in as_completed(futures):
            rows += future.result()
            bar.update(futures[future])
    return sorted(rows, key=lambda r: (r["measure"], r["pool"], r["seed"], r["lam"], r["policy"]))


def measure_all(tasks: list[Task]) -> list[Row]:
    return [row for task in tasks for row in measure(task)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=N_REQUESTS)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--measures", nargs="+", choices=list(MEASURES), default=list(MEASURES))
    parser.add_argument("--no-rivals", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument(
        "--smoke", action="store_true", help="one seed, short streams: does it run, in a minute"
    )
    given = parser.parse_args(arguments)
    if not set_names(given.data):
        print(f"{given.data}: no <set>.parquet with its <set>.emb.npz", file=sys.stderr)
        return 2
    n_seeds, n = (1, 400) if given.smoke else (given.seeds, given.requests)
    measures = [m for m in given.measures if not (given.smoke and m == "long")]
    cpu = decision_cpu(n=30 if given.smoke else 300)
    rows = run(tasks_of(given.data, n_seeds, n, measures, not given.no_rivals), given.jobs)
    lines = summarise(rows, cpu)
    command = f"python -m benchmarks.quality --seeds {n_seeds} --requests {n}" + (
        " --smoke" if given.smoke else ""
    )
    report = text(rows, lines, f"{command}    (seeds 0 to {n_seeds - 1})")
    print(report)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "quality.txt").write_text(report)
    plain = [{k: v for k, v in row.items() if k not in {"curve", "arms"}} for row in rows]
    (given.out / "quality.json").write_text(
        json.dumps({"command": command, "summary": lines, "rows": plain}) + "\n"
    )
    draw_charts(rows, n, given.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
