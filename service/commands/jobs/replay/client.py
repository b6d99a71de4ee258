"""A client of a running router: completions, feedback, metrics.

`openai` is imported where it is used, because it is optional and slow to import.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx
from pydantic import BaseModel, Field, ValidationError

from service.errors import StartupError

NO_KEY = "none"  # the SDK requires a key; a router on loopback does not
COMPLETION_TIMEOUT_S = 120.0
CALL_TIMEOUT_S = 30.0


class RowFailed(Exception):
    """The router did not answer one row, or its answer broke the API's contract."""


class RequestNumbers(BaseModel):
    """The fields of `GET /metrics/{request_id}` that a replay needs."""

    cost_usd: float = Field(ge=0)
    overhead_ms: float = Field(ge=0)


class RouterClient:
    """Calls a router over HTTP with the official OpenAI client.

    Args:
        url: the router's address, without `/v1`.
    """

    def __init__(self, url: str) -> None:
        from openai import AsyncOpenAI

        self._url = url.rstrip("/")
        self._openai = AsyncOpenAI(
            base_url=f"{self._url}/v1", api_key=NO_KEY, max_retries=0, timeout=COMPLETION_TIMEOUT_S
        )
        self._http = httpx.AsyncClient(base_url=self._url, timeout=CALL_TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._openai.close()
        await self._http.aclose()

    async def check(self, models: tuple[str, ...]) -> None:
        """Check that every arm of the router is one of the recorded models.

        Raises:
            StartupError: no router answers at the URL, or it has other arms.
        """
        try:
            status = (await self._http.get("/backends/status")).raise_for_status().json()
            arms = {model["model"] for model in status["models"]}
        except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
            raise StartupError(f"no router answers at {self._url}: {error}") from error
        unrecorded = sorted(arms - set(models))
        if unrecorded or not arms:
            raise StartupError(
                f"the router at {self._url} must serve recorded models only, got {unrecorded or 'none'}: "
                "start it with the configuration that `router upstream` prints"
            )

    async def ask(self, request_id: str, prompt: str) -> str:
        """Send a prompt and return the model that answered.

        Raises:
            RowFailed: the router did not answer.
        """
        from openai import OpenAIError

        try:
            raw = await self._openai.chat.completions.with_raw_response.create(
                model="auto",
                messages=[{"role": "user", "content": prompt}],
                extra_headers={"X-Request-ID": request_id},
            )
        except OpenAIError as error:
            raise RowFailed(f"completion: {error}") from error
        model: str | None = raw.headers.get("X-Router-Model")
        if not model:
            raise RowFailed("completion: the header X-Router-Model is missing")
        return model

    async def rate(self, request_id: str, score: float) -> None:
        """Post feedback.

        Raises:
            RowFailed: the router did not accept it.
        """
        body = {"request_id": request_id, "score": score}
        try:
            (await self._http.post("/feedback", json=body)).raise_for_status()
        except httpx.HTTPError as error:
            raise RowFailed(f"feedback: {error!r}") from error

    async def numbers(self, request_id: str) -> RequestNumbers:
        """Return the router's metrics of a request.

        Raises:
            RowFailed: the router has none.
        """
        try:
            response = (await self._http.get(f"/metrics/{request_id}")).raise_for_status()
            return RequestNumbers.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            raise RowFailed(f"metrics: {' '.join(str(error).split())}") from error
