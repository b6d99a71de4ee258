"""Opens the encoders."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from embeddings.batching import BatchingEncoder
from embeddings.beginnings import Beginnings
from embeddings.cache import CachedEncoder
from embeddings.encoder import Encoder, EncoderError, TextEncoder
from embeddings.inline import InlineEncoder
from service.arms.relayed_models import WITH_OWN_ENCODER
from service.bootstrap.basics import Progress, no_progress, proxy_for
from service.errors import StartupError
from service.relay.own_encoder import OwnEncoder
from service.settings.settings import Settings

if TYPE_CHECKING:
    from embeddings.minilm import MiniLM


@dataclass(frozen=True, slots=True)
class OpenedEncoders:
    """The encoders of decisions and of meanings, and an embedding model for clients.

    Args:
        decisions: finds requests that models answer equally well, or equally badly.
        meanings: finds texts that mean the same; the one of decisions, unless that does not know meanings.
        clients: None: the encoder is neither of MiniLM's.
    """

    decisions: TextEncoder
    meanings: TextEncoder
    clients: OwnEncoder | None


async def open_encoders(
    settings: Settings,
    environ: Mapping[str, str],
    stack: AsyncExitStack,
    progress: Progress,
    *,
    compares_meanings: bool = False,
) -> OpenedEncoders:
    """Open the encoders that the settings need, and one of meanings if the caller compares them itself.

    Raises:
        StartupError: the encoder of the settings cannot be opened.
    """
    try:
        encoder = await asyncio.to_thread(build_encoder, settings, environ, progress)
        if (close := getattr(encoder, "close", None)) is not None:  # an endpoint's has connections
            stack.callback(close)
        asked = InlineEncoder(encoder) if settings.embedding_backend == "words" else BatchingEncoder(encoder)
        decisions = await _warm(asked, settings, stack)
        meanings = decisions
        minilm = cast("MiniLM", encoder) if settings.embedding_backend == "minilm" else None
        if settings.embedding_backend == "words" and (compares_meanings or _compares_meanings(settings)):
            minilm = await asyncio.to_thread(_open_minilm, settings, progress)
            meanings = await _warm(BatchingEncoder(minilm), settings, stack)
    except EncoderError as error:
        raise StartupError(f"EMBEDDING_BACKEND {settings.embedding_backend}: {error}") from error
    return OpenedEncoders(decisions, meanings, _for_clients(minilm, settings, stack))


async def _warm(
    encoder: InlineEncoder | BatchingEncoder, settings: Settings, stack: AsyncExitStack
) -> TextEncoder:
    stack.push_async_callback(encoder.close)
    await encoder.encode("warm up before the first request")
    return CachedEncoder(encoder, settings.embedding_cache_size)


def _compares_meanings(settings: Settings) -> bool:
    """Whether answers of similar questions are reused, or requests are tagged."""
    reuses = settings.cache_enabled and settings.semantic_cache_enabled
    return reuses or bool(settings.policies.needed_tags)


def _for_clients(minilm: MiniLM | None, settings: Settings, stack: AsyncExitStack) -> OwnEncoder | None:
    """MiniLM for clients, opened by their first text if nothing else needs it."""
    if settings.embedding_backend not in WITH_OWN_ENCODER:
        return None
    from embeddings.tokens import FIRST, FIRST_CHARACTERS

    beginnings = Beginnings(lambda: minilm or _open_minilm(settings, no_progress))
    batching = BatchingEncoder(beginnings)
    stack.push_async_callback(batching.close)
    return OwnEncoder(batching, beginnings.count_tokens, FIRST, FIRST_CHARACTERS)


def build_encoder(settings: Settings, environ: Mapping[str, str], progress: Progress) -> Encoder:
    """The encoder that the settings name. Blocks while the encoder is built or loaded."""
    if settings.embedding_backend == "http":
        from embeddings.remote import RemoteEncoder

        key = settings.embedding_api_key
        return RemoteEncoder(
            settings.embedding_base_url or "",
            settings.embedding_model or "",
            key.get_secret_value() if key else None,
            settings.embedding_timeout_s,
            proxy=proxy_for(settings.embedding_base_url, environ),
        )
    if settings.embedding_backend == "sentence-transformers":
        from embeddings.transformer import SentenceTransformerEncoder

        return SentenceTransformerEncoder(
            settings.embedding_model or "sentence-transformers/all-MiniLM-L6-v2"
        )
    if settings.embedding_backend == "words":
        from embeddings.words import open_words

        directory, weights = _weights(settings)
        return open_words(directory, model_path=weights, progress=progress)
    return _open_minilm(settings, progress)


def _open_minilm(settings: Settings, progress: Progress) -> MiniLM:
    from embeddings.minilm import MiniLM, build_minilm

    directory, weights = _weights(settings)
    return MiniLM(build_minilm(directory, model_path=weights, progress=progress))


def _weights(settings: Settings) -> tuple[Path, Path | None]:
    """The folder of encoders, and that of the weights if it is not the packaged one."""
    return settings.data_dir / "encoder", Path(settings.embedding_model) if settings.embedding_model else None
