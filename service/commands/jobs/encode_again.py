"""Makes the contexts of logged decisions again, after a change of the encoder."""

from __future__ import annotations

import asyncio
from uuid import UUID

from embeddings.encoder import TextEncoder
from service.store.connection.pool import Database
from service.store.evidence.contexts import other_texts, replace_contexts

BATCH = 256  # texts: fewer than may wait for an encoder


async def encode_again(database: Database, encoder: TextEncoder) -> int:
    """Encode the stored texts of all decisions whose context another encoder made.

    Each batch is committed on its own: after an interruption the next run goes on with the rest.

    Returns:
        The number of new contexts.

    Raises:
        StoreUnavailable: PostgreSQL stopped answering.
        EncoderError: a text could not be encoded.
    """
    n_made, last = 0, UUID(int=0)
    while texts := await other_texts(database, encoder.name, after=last, most=BATCH):
        vectors = await asyncio.gather(*map(encoder.encode, texts.values()))
        await replace_contexts(database, dict(zip(texts, vectors, strict=True)), encoder.name)
        n_made += len(texts)
        last = list(texts)[-1]
    return n_made
