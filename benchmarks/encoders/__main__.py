"""What an encoder is worth to routing, and what it costs.

    python -m benchmarks.encoders --data FOLDER

The folder has `<set>.parquet` with the columns of `router replay`, and `<set>.emb.npz` with the vectors of
the float model, which the other encoders are compared with. benchmarks/results/encoders/ keeps their vectors.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.encoders.candidates import CANDIDATES, FOLDER, RECORDED
from benchmarks.encoders.report import TOKENS, as_json, draw, paired, table
from benchmarks.encoders.worth import learner_gap, squared_errors
from benchmarks.measures.task import Row
from benchmarks.sets import read_set, set_names
from embeddings.encoder import Encoder

TEXT = "how do I sort a list of numbers in python when the items are not all the same type and some miss"
REPEATS, LEAST_S = 7, 0.02
FIRST_SEED = 9300


def cpu_us(encoder: Encoder) -> dict[str, float]:
    """CPU of one text by its tokens, microseconds: the least of several rounds."""
    words = TEXT.split() * 20
    texts = {str(n): " ".join(words[: n - 2]) for n in TOKENS}
    return {n: min(_round_us(encoder, text) for _ in range(REPEATS)) for n, text in texts.items()}


def _round_us(encoder: Encoder, text: str) -> float:
    n, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < LEAST_S or n == 0:
        encoder.encode([text])
        n += 1
    return 1e6 * spent / n


def vectors_folder(name: str, encoder: Encoder, data: Path, sets: list[str]) -> Path:
    """A folder with the sets and the vectors of this encoder, made once."""
    if name == RECORDED:
        return data
    folder = FOLDER / encoder.name
    folder.mkdir(parents=True, exist_ok=True)
    for one in sets:
        if not (link := folder / f"{one}.parquet").exists():
            link.symlink_to((data / link.name).resolve())
        if not (path := folder / f"{one}.emb.npz").exists():
            prompts = read_set(data, one).prompts
            rows = np.concatenate([encoder.encode([prompt]) for prompt in prompts])
            np.savez(path, emb=rows)
    return folder


def main() -> None:
    options = _parser().parse_args()
    sets = [one for one in set_names(options.data) if (options.data / f"{one}.emb.npz").exists()]
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    folders, rows = {}, []
    for candidate in CANDIDATES:
        encoder = candidate.open()
        folders[candidate.name] = vectors_folder(candidate.name, encoder, options.data, sets)
        rows.append({"encoder": candidate.name, "cpu_us": cpu_us(encoder), "error": {}, "gap": {}})
    errors = {
        name: {one: squared_errors(read_set(folder, one)).tolist() for one in sets}
        for name, folder in folders.items()
    }
    played: dict[str, dict[str, list[float]]] = {name: {one: [] for one in sets} for name in options.play}
    command = f"python -m benchmarks.encoders --seeds {options.seeds} --requests {options.requests}"
    options.out.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        for one in sets:
            for name in options.play:
                played[name][one].append(learner_gap(folders[name], one, seed, options.requests))
        report = _report(
            rows, errors, played, sets, f"{command}    (seeds {seeds[0]} to {seed})", options.out
        )
    print(report)


def _report(
    rows: list[Row],
    errors: dict[str, dict[str, list[float]]],
    played: dict[str, dict[str, list[float]]],
    sets: list[str],
    command: str,
    out: Path,
) -> str:
    """Write what is known so far."""
    rows = [
        {
            **row,
            "error": paired(errors[row["encoder"]], errors[RECORDED]),
            "gap": paired(played[row["encoder"]], played[RECORDED])
            if row["encoder"] in played and len(played[RECORDED][sets[0]]) > 1
            else {},
        }
        for row in rows
    ]
    report = table(rows, sets, command)
    (out / "encoders.txt").write_text(report)
    (out / "encoders.json").write_text(json.dumps([as_json(row) for row in rows]) + "\n")
    draw(rows, sets, out / "encoders.png")
    return report


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [candidate.name for candidate in CANDIDATES]
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds of the learner")
    parser.add_argument("--requests", type=int, default=1500, help="requests of the learner in each stream")
    parser.add_argument("--play", nargs="+", choices=names, default=names, help="encoders for the learner")
    parser.add_argument("--out", type=Path, default=FOLDER.parent)
    return parser


if __name__ == "__main__":
    main()
