"""The default encoder: all-MiniLM-L6-v2 in int8 under onnxruntime, without torch."""

import fcntl
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions  # type: ignore[import-untyped]
from tokenizers import Tokenizer

from embeddings.encoder import CHARACTERS_PER_TOKEN, EncoderUnavailable, Vector, cut, normalise
from embeddings.weights import packaged_weights

MAX_TOKENS = 256
MAX_CHARACTERS = MAX_TOKENS * CHARACTERS_PER_TOKEN
MODEL, TOKENIZER, CHECKSUMS = "model.onnx", "tokenizer.json", "SHA256SUMS"


class MiniLM:
    """Encodes the first 256 tokens of each text, with the folder that `build_minilm` made.

    Texts run one at a time. int8 scales activations over the whole input, so in a batch a text's vector would
    depend on the other texts (cosine down to 0.99), and on one thread a batch is hardly faster.
    """

    dimension = 384

    def __init__(self, folder: Path) -> None:
        options = SessionOptions()
        options.intra_op_num_threads = 1  # two are slower at these sizes, and requests run concurrently
        options.inter_op_num_threads = 1
        self.name = folder.name
        self._session = InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()
        self._counter = Tokenizer.from_file(str(folder / TOKENIZER))
        self._counter.no_truncation()
        self._counter.no_padding()

    def encode(self, texts: Sequence[str]) -> Vector:
        return normalise(np.concatenate([self._pooled(text) for text in texts]))

    def count_tokens(self, text: str) -> int:
        """The tokens of a text, those beyond the first 256 included."""
        return len(self._counter.encode(cut(text, MAX_CHARACTERS)).ids)

    def _pooled(self, text: str) -> Vector:
        ids = self._tokenizer.encode(cut(text, MAX_CHARACTERS)).ids
        pooled: Vector = self._session.run(None, {"ids": np.array([ids])})[0]
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
        folder = directory / f"minilm-int8-{MAX_TOKENS}-{_sha256(source / 'model.safetensors')[:8]}"
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
    _quantise(source, scratch / MODEL, progress)
    shutil.copyfile(source / TOKENIZER, scratch / TOKENIZER)
    (scratch / CHECKSUMS).write_bytes(_checksums(scratch))
    shutil.rmtree(folder, ignore_errors=True)  # the damaged folder
    scratch.rename(folder)


def _quantise(source: Path, target: Path, progress: Callable[[str], None]) -> None:
    # Imported here because only the build needs onnx.
    from onnxruntime.quantization import QuantType, quantize_dynamic  # type: ignore[import-untyped]

    from embeddings.graph import minilm_graph

    progress(f"encoder: reading the weights in {source}")
    graph = minilm_graph(source)
    progress("encoder: quantising to int8 (once, a few seconds)")
    # One scale per channel: mean cosine with the float model 0.99, compared with 0.96 for one per matrix.
    # Reduced range (7 bits): processors without VNNI saturate at 8, so vectors would differ between machines.
    with _quiet_root_logger():
        quantize_dynamic(graph, target, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8)


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Silence the root logger, which the quantiser configures and logs every tensor to."""
    root, before = logging.getLogger(), logging.root.manager.disable
    handler = logging.NullHandler()
    root.addHandler(handler)
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(handler)


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
    return "".join(f"{_sha256(folder / name)}  {name}\n" for name in (MODEL, TOKENIZER)).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
