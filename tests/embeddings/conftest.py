"""The encoder, built once because building takes seconds, and realistic prompts."""

from pathlib import Path

import pytest

from embeddings.minilm import MiniLM, build_minilm
from embeddings.words import typical_prompts


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    return typical_prompts()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_minilm(tmp_path_factory.mktemp("encoder"), model_path=None, progress=lambda line: None)


@pytest.fixture(scope="session")
def minilm(built: Path) -> MiniLM:
    return MiniLM(built)
