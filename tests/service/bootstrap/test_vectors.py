"""The encoder that the settings name."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from embeddings.encoder import EncoderError
from service.bootstrap.basics import no_progress
from service.bootstrap.vectors import build_encoder, open_encoder
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


async def test_the_words_backend_needs_no_wait_and_offers_no_embeddings(tmp_path: Path) -> None:
    settings = Settings(embedding_backend="words", data_dir=tmp_path)

    async with AsyncExitStack() as stack:
        opened = await open_encoder(settings, {}, stack, no_progress)

        assert opened.decisions.name == "words-end128-53aa5117"
        assert opened.decisions.cached("never seen before") is not None
        assert opened.clients is None
