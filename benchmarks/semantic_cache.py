"""How often the semantic cache gives a right answer again, and how often a wrong one.

    python -m benchmarks.semantic_cache [--pairs FILE] [--thresholds 0.8 0.9 0.95] [--show] [--cpu]

Each pair of questions is one request after another: a hit is right if they may share an answer (`same`), and
false if not. Each wording of a question is also paired with each other question that resembles it. The pairs
are kept apart from those that the rule was written with. `--cpu` measures the router's own work instead.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson

from bandit.arrays import Bools, Floats
from service.bootstrap.basics import no_progress
from service.bootstrap.vectors import build_encoder
from service.cache.request_content import key_of
from service.cache.same_question import may_share_answer
from service.cache.semantic import Semantic, nearest, question_of
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.cached_answer import KeptQuestion
from service.settings.settings import Settings

PAIRS = Path(__file__).with_name("semantic_cache_pairs.jsonl")
N_COMPARED = 200
N_REPEATS = 2_000


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions of one user; `kind` names what differs."""

    language: str
    same: bool
    kind: str
    first: str
    second: str


def read_pairs(file: Path) -> list[Pair]:
    return [Pair(**orjson.loads(line)) for line in file.read_bytes().splitlines()]


def crossed(pairs: Sequence[Pair]) -> list[Pair]:
    """Each other wording of a question with each question that must not get its answer."""
    wordings = [pair for pair in pairs if pair.same]
    others = [pair for pair in pairs if not pair.same]
    return [
        Pair(trap.language, False, trap.kind, wording.second, trap.second)
        for wording in wordings
        for trap in others
        if wording.first == trap.first
    ]


def cosines_of(pairs: Sequence[Pair]) -> Floats:
    """The cosine of the two questions of each pair, by MiniLM; shape (n,)."""
    with tempfile.TemporaryDirectory() as folder:
        encoder = build_encoder(Settings(data_dir=Path(folder), embedding_backend="minilm"), {}, no_progress)
        texts = sorted({text for pair in pairs for text in (pair.first, pair.second)})
        vectors = dict(zip(texts, encoder.encode(texts), strict=True))
    first = np.stack([vectors[pair.first] for pair in pairs])
    second = np.stack([vectors[pair.second] for pair in pairs])
    return np.asarray((first * second).sum(axis=1), dtype=np.float64)


def report(pairs: Sequence[Pair], cosines: Floats, thresholds: Sequence[float], *, show: bool) -> None:
    same = np.array([pair.same for pair in pairs])
    agreed = np.array([may_share_answer(pair.first, pair.second) for pair in pairs])
    print(f"{len(pairs)} pairs: {same.sum()} share an answer, {(~same).sum()} do not")
    print(
        "| threshold | right hits, threshold alone | false hits, threshold alone | right hits | false hits |"
    )
    print("|---|---|---|---|---|")
    for threshold in thresholds:
        near = cosines >= threshold
        columns = [_share(near, same), _share(near, ~same), _share(near & agreed, same)]
        print(f"| {threshold:g} | {' | '.join([*columns, _share(near & agreed, ~same)])} |")
    hits = agreed & (cosines >= thresholds[len(thresholds) // 2])
    for name in ("language", "kind"):
        counts = Counter(getattr(pair, name) for pair in pairs)
        n_hits = Counter(getattr(pair, name) for pair, hit in zip(pairs, hits, strict=True) if hit)
        print(f"hits by {name}: " + ", ".join(f"{key} {n_hits[key]}/{n}" for key, n in counts.items()))
    for pair, hit, cosine in zip(pairs, hits, cosines, strict=True):
        if hit != pair.same and (show or hit):
            print(f"{'false hit' if hit else 'missed'} {cosine:.3f}: {pair.first} | {pair.second}")


def _share(hits: Bools, among: Bools) -> str:
    n = int(among.sum())
    return f"{100 * (hits & among).sum() / n:.1f} % ({(hits & among).sum()} of {n})"


def report_cpu() -> None:
    """The time of a key, and of a comparison with the questions of one scope."""
    received = Received({}, "default", "r", False, datetime(2026, 1, 1, tzinfo=UTC))
    body = {"messages": [{"role": "user", "content": "How do I reverse a list in Python?"}]}
    query = read_query(orjson.dumps(body), received)
    rng = np.random.default_rng(0)
    contexts = rng.standard_normal((N_COMPARED, 384)).astype(np.float32)
    contexts /= np.linalg.norm(contexts, axis=1, keepdims=True)
    questions = [question_of(query, f"Question {i}?", c, "minilm") for i, c in enumerate(contexts)]
    others = [KeptQuestion(bytes(32), question) for question in questions]
    rules = Semantic(0.9, 0.7)
    print(f"key of a request: {_microseconds(lambda: key_of(query)):.0f} us")
    compare = _microseconds(lambda: nearest(questions[0], others, rules))
    print(f"comparison with {N_COMPARED} questions: {compare:.0f} us")
    guard = _microseconds(lambda: may_share_answer("How do I reverse a list?", "how can I reverse a list"))
    print(f"comparison of two wordings: {guard:.0f} us")


def _microseconds(work: Callable[[], object]) -> float:
    """The median time of a call."""
    times = []
    for _ in range(N_REPEATS):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return float(np.median(times)) / 1_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, default=PAIRS)
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.8, 0.9, 0.95])
    parser.add_argument("--show", action="store_true", help="print the missed pairs too")
    parser.add_argument("--cpu", action="store_true")
    arguments = parser.parse_args()
    if arguments.cpu:
        report_cpu()
        return
    pairs = read_pairs(arguments.pairs)
    pairs += crossed(pairs)
    report(pairs, cosines_of(pairs), arguments.thresholds, show=arguments.show)


if __name__ == "__main__":
    main()
