"""The router's own encoder as an embedding model."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from embeddings.encoder import EncoderError, TextEncoder
from service.domain.embedding import EmbeddingRequest, Embeddings, as_row
from service.errors import BadRequest, ContextTooLong, Unavailable

# Texts of clients that wait for the encoder at a time, so that a thousand do not fill its queue.
AT_A_TIME = 2


@dataclass(frozen=True, slots=True)
class OwnEncoder:
    """Embeds texts with the router's encoder.

    Args:
        count_tokens: the tokens of a text for the encoder; blocks.
        max_tokens: of a text; the encoder leaves out the rest.
        max_characters: of a text; the encoder leaves out the rest.
    """

    encoder: TextEncoder
    count_tokens: Callable[[str], int]
    max_tokens: int
    max_characters: int
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_A_TIME))

    async def embed(self, request: EmbeddingRequest) -> Embeddings:
        """The vectors, which have length 1.

        Raises:
            BadRequest: an input is a list of tokens or too long, or other dimensions are requested.
            Unavailable: the encoder failed.
        """
        if request.dimensions not in (None, self.encoder.dimension):
            raise BadRequest(
                f"dimensions: {request.model} has {self.encoder.dimension}, got {request.dimensions}",
                param="dimensions",
            )
        texts = [self._text(request, index) for index in range(len(request.inputs))]
        try:
            counts = await asyncio.to_thread(self._counted, texts)
            rows = [as_row(await self._numbers(text), request.encoding_format) for text in texts]
        except EncoderError as error:
            raise Unavailable(f"{request.model}: {error}") from error
        return Embeddings(tuple(rows), sum(counts))

    def _text(self, request: EmbeddingRequest, index: int) -> str:
        item = request.inputs[index]
        if not isinstance(item, str):
            raise BadRequest(
                f"{_param(index)}: {request.model} reads texts, not lists of tokens", param=_param(index)
            )
        if len(item) > self.max_characters:
            raise ContextTooLong(
                f"{_param(index)}: must have at most {self.max_characters} characters for {request.model}, "
                f"got {len(item)}",
                param=_param(index),
            )
        return item

    def _counted(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text. It ends at the first that is too long, because counting takes time."""
        counts = []
        for index, text in enumerate(texts):
            counts.append(count := self.count_tokens(text))
            if count > self.max_tokens:
                raise ContextTooLong(
                    f"{_param(index)}: this model's maximum context length is {self.max_tokens} tokens, "
                    f"got {count}",
                    param=_param(index),
                )
        return counts

    async def _numbers(self, text: str) -> list[float]:
        async with self._turns:
            vector = await self.encoder.encode(text)
        return [float(number) for number in vector]


def _param(index: int) -> str:
    return f"input[{index}]"
