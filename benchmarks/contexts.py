"""Vectors of recorded prompts, made by the service's encoder and stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embeddings.words import open_words
from service.commands.output import progress_bar

Vectors = npt.NDArray[np.float32]
FOLDER = Path(__file__).parent / "results" / "contexts"


def encoded(prompts: Sequence[str], name: str, folder: Path = FOLDER) -> Vectors:
    """Encode the prompts into unit rows, shape (n, d); the same prompts are encoded once."""
    encoder = open_words(folder, model_path=None, progress=print)
    digest = hashlib.sha256("\0".join([encoder.name, *prompts]).encode()).hexdigest()
    path = folder / f"{name}-{digest[:16]}.npy"
    if not path.exists():
        rows = []
        with progress_bar() as progress:
            for n_encoded, prompt in enumerate(prompts, 1):
                rows.append(encoder.encode([prompt]))
                progress(n_encoded, len(prompts))
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished.npy")
        np.save(unfinished, np.concatenate(rows))
        unfinished.rename(path)
    vectors: Vectors = np.load(path)
    return vectors
