"""The default encoder: all-MiniLM-L6-v2 in int8 under onnxruntime, without torch."""

import fcntl
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnxruntime import GraphOptimizationLevel, InferenceSession, SessionOptions  # type: ignore[import-untyped]

from embeddings.encoder import EncoderUnavailable, Vector, normalise
from embeddings.tokens import Tokens
from embeddings.weights import TOKENIZER, WEIGHTS, digest_of, packaged_weights

MODEL, CHECKSUMS = "model.onnx", "SHA256SUMS"
RECIPE = "minilm-int8-end128"


class MiniLM:
    """Encodes the last 128 tokens of each text, with the folder that `build_minilm` made.

    Texts run one at a time. int8 scales activations over the whole input, so in a batch a text's vector would
    depend on the other texts (cosine down to 0.99), and on one thread a batch is hardly faster.
    """

    dimension = 384

    def __init__(self, folder: Path) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = 1  # two are slower at these sizes, and requests run concurrently
        options.inter_op_num_threads = 1
        # The graph is fused already: what onnxruntime would fuse beyond it (additions and norms) gets slower.
        options.graph_optimization_level = GraphOptimizationLevel.ORT_ENABLE_BASIC
        self.name = folder.name
        self._session = InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._tokens = Tokens(folder / TOKENIZER)

    def encode(self, texts: Sequence[str]) -> Vector:
        return self._vectors([self._tokens.last(text) for text in texts])

    def encode_beginnings(self, texts: Sequence[str]) -> Vector:
        """Encode the first 256 tokens of each text instead, as the library that defines the model does."""
        return self._vectors([self._tokens.first(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        """The tokens of a text, those beyond the first 256 included."""
        return self._tokens.count(text)

    def _vectors(self, rows: list[list[int]]) -> Vector:
        return normalise(np.concatenate([self._pooled(ids) for ids in rows]))

    def _pooled(self, ids: list[int]) -> Vector:
        pooled: Vector = self._session.run(None, {"ids": np.array([ids], dtype=np.int32)})[0]
        return pooled


def build_minilm(directory: Path, *, model_path: Path | None, progress: Callable[[str], None]) -> Path:
    """Return the folder that `MiniLM` reads, building it in `directory` first if it is missing or damaged.

    The folder is named after the vector space: recipe and weights. Any number of processes may call this at
    once; one of them builds, the others wait.

    Args:
        directory: the folder of built encoders.
        model_path: a folder with the model's weights, config and tokenizer; None: the packaged one.
        progress: called with a line of text before each slow step; not called if the folder is intact.

    Raises:
        EncoderUnavailable: the weights are missing or not all-MiniLM-L6-v2, or the folder cannot be written.
    """
    try:
        source = model_path or packaged_weights(directory, progress)
        folder = directory / f"{RECIPE}-{digest_of(source / WEIGHTS)[:8]}"
        if _is_intact(folder):
            return folder
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / "lock"):
            if not _is_intact(folder):  # another process may have built it during the wait
                _build(source, folder, progress)
    except OSError as error:
        raise EncoderUnavailable(f"cannot build the encoder in {directory}: {error}") from error
    return folder


def _build(source: Path, folder: Path, progress: Callable[[str], None]) -> None:
    scratch = folder.parent / "building"
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
    scratch.mkdir()
    _convert(source, scratch / MODEL, progress)
    shutil.copyfile(source / TOKENIZER, scratch / TOKENIZER)
    (scratch / CHECKSUMS).write_bytes(_checksums(scratch))
    shutil.rmtree(folder, ignore_errors=True)  # the damaged folder
    scratch.rename(folder)


def _convert(source: Path, target: Path, progress: Callable[[str], None]) -> None:
    from embeddings.graph import minilm_graph  # imported here because only the build needs onnx

    progress(f"encoder: converting the weights in {source} to int8 (once, a second)")
    target.write_bytes(minilm_graph(source, int8=True).SerializeToString())


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the kernel releases it when the process ends, even if it is killed
        yield


def _is_intact(folder: Path) -> bool:
    try:
        return (folder / CHECKSUMS).read_bytes() == _checksums(folder)
    except FileNotFoundError:
        return False


def _checksums(folder: Path) -> bytes:
    """The checksums in the format of `sha256sum --check`."""
    return "".join(f"{digest_of(folder / name)}  {name}\n" for name in (MODEL, TOKENIZER)).encode()
