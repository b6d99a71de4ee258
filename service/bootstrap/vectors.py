"""Opens the encoder and the memory."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from embeddings.batching import BatchingEncoder
from embeddings.cache import CachedEncoder
from embeddings.encoder import Encoder, EncoderError, TextEncoder
from embeddings.inline import InlineEncoder
from service.bootstrap.basics import Progress
from service.domain.ports import Memory
from service.domain.proxies import Proxies
from service.errors import StartupError
from service.memory.edge import EdgeMemory
from service.relay.own_encoder import OwnEncoder
from service.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class OpenedEncoder:
    """The encoder for decisions, and the same one as an embedding model for clients.

    Args:
        clients: None: the encoder is not the default one.
    """

    decisions: TextEncoder
    clients: OwnEncoder | None


async def open_encoder(
    settings: Settings, environ: Mapping[str, str], stack: AsyncExitStack, progress: Progress
) -> OpenedEncoder:
    try:
        encoder = await asyncio.to_thread(build_encoder, settings, environ, progress)
        if (close := getattr(encoder, "close", None)) is not None:  # an endpoint's has connections
            stack.callback(close)
        asked = _off_the_loop(encoder)
        stack.push_async_callback(asked.close)
        await asked.encode("warm up before the first request")
    except EncoderError as error:
        raise StartupError(f"EMBEDDING_BACKEND {settings.embedding_backend}: {error}") from error
    cached = CachedEncoder(asked, settings.embedding_cache_size)
    return OpenedEncoder(cached, _for_clients(encoder, stack))


def _off_the_loop(encoder: Encoder) -> TextEncoder:
    """The encoder off the event loop, unless asking another thread takes longer than encoding."""
    from embeddings.words import WordsEncoder

    return InlineEncoder(encoder) if isinstance(encoder, WordsEncoder) else BatchingEncoder(encoder)


def _for_clients(encoder: Encoder, stack: AsyncExitStack) -> OwnEncoder | None:
    """The default encoder for clients, whose texts stay out of the queue and the cache of decisions."""
    from embeddings.minilm import Beginnings, MiniLM
    from embeddings.tokens import FIRST, FIRST_CHARACTERS

    if not isinstance(encoder, MiniLM):
        return None
    batching = BatchingEncoder(Beginnings(encoder))
    stack.push_async_callback(batching.close)
    return OwnEncoder(batching, encoder.count_tokens, FIRST, FIRST_CHARACTERS)


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
            proxy=_proxy_for(settings.embedding_base_url, environ),
        )
    if settings.embedding_backend == "sentence-transformers":
        from embeddings.transformer import SentenceTransformerEncoder

        return SentenceTransformerEncoder(
            settings.embedding_model or "sentence-transformers/all-MiniLM-L6-v2"
        )
    directory = settings.data_dir / "encoder"
    weights = Path(settings.embedding_model) if settings.embedding_model else None
    if settings.embedding_backend == "words":
        from embeddings.words import open_words

        return open_words(directory, model_path=weights, progress=progress)
    from embeddings.minilm import MiniLM, build_minilm

    return MiniLM(build_minilm(directory, model_path=weights, progress=progress))


async def open_memory(
    settings: Settings,
    environ: Mapping[str, str],
    data_dir: Path,
    encoder: TextEncoder,
    stack: AsyncExitStack,
) -> Memory:
    memory: Memory
    if settings.qdrant_url is None:
        memory = await EdgeMemory.open(
            data_dir / "memory",
            encoder=encoder.name,
            dimension=encoder.dimension,
            max_points_per_arm=settings.memory_points_per_arm,
        )
    else:
        from service.memory.qdrant import QdrantMemory  # half of the import time is that of its client

        key = settings.qdrant_api_key
        memory = await QdrantMemory.connect(
            settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            encoder=encoder.name,
            dimension=encoder.dimension,
            max_points_per_arm=settings.memory_points_per_arm,
            timeout_s=settings.memory_timeout_s,
            proxy=_proxy_for(settings.qdrant_url, environ),
        )
    stack.push_async_callback(memory.close)
    return memory


def _proxy_for(url: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy to a dependency. Raises StartupError."""
    try:
        return Proxies.of(environ).proxy_for(url or "")
    except ValueError as error:
        raise StartupError(str(error)) from error
