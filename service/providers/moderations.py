"""Calls the moderations endpoint of an OpenAI-compatible server."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.providers.http import HttpClient, parsed
from service.providers.relayed_calls import call

ENDPOINT = "/moderations"


class HttpModerations:
    """A ModerationClient.

    Args:
        secrets: where `api_key_env` and the proxies are looked up, usually the environment.
        clock: the current time, to read dates in `Retry-After`.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))

    async def moderate(self, arm: Arm, content: object, *, timeout_s: float) -> Json:
        body = {"model": arm.model, "input": content}
        post = call(arm, self._secrets, ENDPOINT, body, timeout_s)
        document = parsed((await self._http.answer(post)).body)
        if isinstance(document, dict) and isinstance(document.get("results"), list) and document["results"]:
            return document
        raise self._http.refusal(post, document)

    async def close(self) -> None:
        await self._http.close()
