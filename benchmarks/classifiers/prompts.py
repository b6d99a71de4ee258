"""Labelled prompts, and their vectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embeddings.encoder import Vector
from embeddings.minilm import MiniLM, build_minilm

DATA = Path(__file__).parent / "data"
TRAINING, KEPT_APART = DATA / "train.jsonl", DATA / "heldout.jsonl"
EXPERT_SETS = DATA / "experts.jsonl"


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and its labels; `edge` names the edge case that it is, if it is one."""

    text: str
    intent: str
    difficulty: str
    language: str
    edge: str | None = None
    is_composed: bool = False  # of a request and a piece of code that were written apart


def read_prompts(path: Path) -> list[Prompt]:
    return [_prompt(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def _prompt(source: str = "written", **fields: str) -> Prompt:
    return Prompt(**fields, is_composed=source == "composed")


def open_encoder(folder: Path) -> MiniLM:
    """The default encoder, built in `folder` at the first call."""
    return MiniLM(build_minilm(folder, model_path=None, progress=print))


def vectors_of(encoder: MiniLM, texts: list[str]) -> Vector:
    """Unit vectors, shape (n, d)."""
    return np.concatenate([encoder.encode([text]) for text in texts])
