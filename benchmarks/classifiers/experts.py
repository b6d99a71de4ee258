"""How well the expert classifier finds the expert, on invented sets of experts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.classifiers.prompts import DATA
from embeddings.encoder import Vector
from embeddings.minilm import MiniLM
from service.policies.classifiers.expert import Expert, expert_classifier

SETS = DATA / "experts.jsonl"


@dataclass(frozen=True, slots=True)
class ExpertSet:
    """Experts by their names, and prompts with the expert that each is for; None: no expert is."""

    name: str
    experts: Mapping[str, Expert]
    prompts: tuple[tuple[str | None, str], ...]


class AsyncEncoder:
    """The encoder, for code that awaits its vectors."""

    def __init__(self, encoder: MiniLM) -> None:
        self.name = encoder.name
        self.dimension = encoder.dimension
        self._encoder = encoder

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vector:
        vector: Vector = self._encoder.encode([text])[0]
        return vector

    async def close(self) -> None: ...


def read_sets(path: Path = SETS) -> list[ExpertSet]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        ExpertSet(
            line["set"],
            {name: Expert(description) for name, description in line["experts"].items()},
            tuple((expert, text) for expert, text in line["prompts"]),
        )
        for line in lines
    ]


async def answers_of(one: ExpertSet, encoder: AsyncEncoder) -> list[str | None]:
    """The expert that the classifier finds for each prompt of a set."""
    classifier = await expert_classifier(one.experts, encoder)
    return [classifier.best(await encoder.encode(text))[0] for _, text in one.prompts]


def print_experts(encoder: MiniLM) -> None:
    """Accuracy on prompts for an expert, and how many prompts for none get none."""
    asyncio.run(_print(AsyncEncoder(encoder)))


async def _print(encoder: AsyncEncoder) -> None:
    hits: list[bool] = []
    unmatched: list[bool] = []
    print("\n## expert\n")
    for one in read_sets():
        answers = await answers_of(one, encoder)
        pairs = [(answer, expert) for answer, (expert, _) in zip(answers, one.prompts, strict=True)]
        own = [answer == expert for answer, expert in pairs if expert is not None]
        unmatched += [answer is None for answer, expert in pairs if expert is None]
        hits += own
        print(f"  {one.name}, {len(one.experts)} experts: {sum(own) / len(own):.1%} of {len(own)}")
    print(f"all: {sum(hits) / len(hits):.1%} of {len(hits)} prompts that are for an expert")
    print(f"no expert: {sum(unmatched) / len(unmatched):.1%} of {len(unmatched)} prompts that are for none")
