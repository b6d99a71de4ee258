"""The encoder that the settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from embeddings.encoder import EncoderError
from service.bootstrap.basics import no_progress
from service.bootstrap.vectors import build_encoder, open_encoders
from service.domain.embedding import EmbeddingRequest
from service.errors import StartupError
from service.settings.settings import Settings


def test_the_http_backend_encodes_with_the_endpoint() -> None:
    settings = Settings(
        embedding_backend="http", embedding_base_url="http://127.0.0.1:9/v1", embedding_model="tiny"
    )

    with pytest.raises(EncoderError, match=r"127\.0\.0\.1:9"):
        build_encoder(settings, {}, no_progress)


def test_the_http_backend_is_called_through_the_proxy() -> None:
    settings = Settings(
        embedding_backend="http", embedding_base_url="http://vectors.example", embedding_model="tiny"
    )

    with pytest.raises(EncoderError, match=r"Connection refused"):  # by the proxy: the name is not known
        build_encoder(settings, {"HTTP_PROXY": "http://127.0.0.1:1"}, no_progress)
    with pytest.raises(StartupError, match=r"^HTTP_PROXY must be"):
        build_encoder(settings, {"HTTP_PROXY": "socks5://127.0.0.1:1"}, no_progress)


async def test_the_default_encoder_needs_no_wait_and_no_model(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        opened = await open_encoders(Settings(data_dir=tmp_path), {}, stack, no_progress)

        assert opened.decisions.name.startswith("words-")
        assert opened.decisions.cached("never seen before") is not None
        assert opened.meanings is opened.decisions
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240


@pytest.mark.parametrize(
    "section",
    [
        pytest.param({"cache_enabled": True, "semantic_cache_enabled": True}, id="semantic cache"),
        pytest.param({"policies": {"tags": ["intent"]}}, id="tags"),
    ],
)
async def test_what_compares_meanings_gets_minilm(tmp_path: Path, section: dict[str, Any]) -> None:
    async with AsyncExitStack() as stack:
        opened = await open_encoders(Settings(data_dir=tmp_path, **section), {}, stack, no_progress)

        assert opened.decisions.name.startswith("words-")
        assert opened.meanings.name.startswith("minilm-")


async def test_clients_get_minilm_which_their_first_text_opens(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        opened = await open_encoders(Settings(data_dir=tmp_path), {}, stack, no_progress)
        assert opened.clients is not None

        answer = await opened.clients.embed(EmbeddingRequest("router-minilm", ("one two",)))

    assert answer.prompt_tokens == 4
    assert len(answer.rows[0]) == 384
    assert any(tmp_path.glob("encoder/minilm-*"))  # noqa: ASYNC240
