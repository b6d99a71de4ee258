"""An HTTP endpoint that speaks OpenAI's `/embeddings`."""

from collections.abc import Sequence

import httpx
import numpy as np

from embeddings.encoder import EncoderUnavailable, Vector, cut, normalise

# Within the window of common embedding models, and a limit to the cost of a call.
MAX_CHARACTERS = 8_000


class RemoteEncoder:
    """Encodes by blocking HTTP calls. The constructor calls the endpoint once to find the dimension.

    Args:
        base_url: URL before `/embeddings`, e.g. `https://api.openai.com/v1`, or with it.
        model: the endpoint's name of the model.
        api_key: sent as a bearer token, unless None or empty.
        timeout_s: limit for connecting, for sending and for receiving.
        proxy: URL of the proxy to call the endpoint through; None: it is called directly.

    Raises:
        EncoderUnavailable: the endpoint does not answer with embeddings.
    """

    def __init__(
        self, base_url: str, model: str, api_key: str | None, timeout_s: float, proxy: str | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # With a transport of its own, the client reads no proxy from the environment.
        transport = httpx.HTTPTransport(proxy=proxy)
        self._client = httpx.Client(headers=headers, timeout=timeout_s, transport=transport)
        self._url = base_url.rstrip("/").removesuffix("/embeddings") + "/embeddings"
        self._model = model
        try:
            self.dimension = self._embeddings(["dimension"]).shape[1]
        except EncoderUnavailable:
            self.close()
            raise
        # Some models are served at several dimensions: each is a vector space of its own.
        self.name = f"http-{model}-{self.dimension}"

    def encode(self, texts: Sequence[str]) -> Vector:
        # A single space replaces the empty text, which OpenAI rejects.
        vectors = self._embeddings([cut(text, MAX_CHARACTERS) or " " for text in texts])
        if vectors.shape[1] != self.dimension:
            raise EncoderUnavailable(
                f"{self._url} answered with {vectors.shape[1]} dimensions, earlier with {self.dimension}"
            )
        return normalise(vectors)

    def close(self) -> None:
        self._client.close()

    def _embeddings(self, texts: list[str]) -> Vector:
        try:
            response = self._client.post(self._url, json={"model": self._model, "input": texts})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EncoderUnavailable(f"{self._url} did not answer: {error!r}") from error
        if not response.is_success:
            # The message leaves out the body, which may quote the texts or the key.
            raise EncoderUnavailable(f"{self._url} answered {response.status_code} {response.reason_phrase}")
        try:
            rows = sorted(response.json()["data"], key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (ValueError, TypeError, KeyError) as error:
            raise EncoderUnavailable(f"{self._url} answered something other than embeddings") from error
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise EncoderUnavailable(f"{self._url} answered {vectors.shape} numbers for {len(texts)} texts")
        return vectors
