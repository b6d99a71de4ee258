"""Runs a quick encoder where it is called, on the event loop."""

from embeddings.encoder import Encoder, EncoderError, EncoderUnavailable, Vector


class InlineEncoder:
    """Encodes one text at a time in the thread that asks.

    For encoders that take less time than to ask another thread, which is about 0.1 ms.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.name = encoder.name
        self.dimension = encoder.dimension
        self._encoder = encoder

    def cached(self, text: str) -> Vector | None:
        """The vector, which needs no wait; None: it cannot be encoded, and `encode` says why."""
        try:
            return self._encoded(text)
        except EncoderError:
            return None

    async def encode(self, text: str) -> Vector:
        return self._encoded(text)

    async def close(self) -> None:
        pass

    def _encoded(self, text: str) -> Vector:
        try:
            vector: Vector = self._encoder.encode([text])[0]
        except (EncoderError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a panic in native code is no Exception
            # The message of the error is left out: it may quote the text.
            raise EncoderUnavailable(f"{self.name} failed: {type(error).__name__}") from error
        return vector
