"""The vendors' sources: fetched by hash into build/, unpacked, and amended there."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.sdk_suites.suites import Suite

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-sdk-suites" / "bin" / "python"
LOCK = ROOT / "requirements-sdk-sources.txt"
FOLDER = ROOT / "build" / "sdk-suites"
TESTS = Path("tests", "api_resources")
OBJECTS = Path(__file__).with_name("router_objects.py")
IMPORT = "import os\n"  # at the head of every file of theirs


def fetch() -> None:
    """Fetch the sources, checked by their hashes, unless they are there."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    if all((FOLDER / f"{package}-{version}.tar.gz").exists() for package, version in versions().items()):
        return
    subprocess.run(
        [
            *(PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", ":all:", "--no-build-isolation"),
            *("--require-hashes", "--requirement", LOCK, "--dest", FOLDER),
        ],
        check=True,
    )


def versions() -> dict[str, str]:
    """The version of each package."""
    return dict(re.findall(r"^([\w-]+)==(\S+)", LOCK.read_text("utf-8"), re.M))


def unpacked(suite: Suite) -> Path:
    """The folder of the suite as it was fetched."""
    name = f"{suite.package}-{versions()[suite.package]}"
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    with tarfile.open(FOLDER / f"{name}.tar.gz") as archive:
        archive.extractall(FOLDER, filter="data")
    return FOLDER / name


def amend(suite: Suite, folder: Path) -> None:
    """Change the suite in its folder. Raises ValueError: an amendment fits nothing."""
    shutil.copy(OBJECTS, folder / "tests" / OBJECTS.name)
    for file in suite.files:
        path = folder / TESTS / file.path
        text = path.read_text("utf-8")
        for amendment in file.amendments:
            text, n_times = re.subn(amendment.pattern, amendment.replacement, text)
            if not n_times:
                raise ValueError(f"{file.path} has no {amendment.pattern}")
        path.write_text(text.replace(IMPORT, f"{IMPORT}from tests import router_objects\n", 1), "utf-8")
