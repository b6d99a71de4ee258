"""The default encoder, built once because building takes seconds."""

from __future__ import annotations

import pytest

from embeddings.minilm import MiniLM, build_minilm


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> MiniLM:
    folder = tmp_path_factory.mktemp("encoder")
    return MiniLM(build_minilm(folder, model_path=None, progress=lambda line: None))
