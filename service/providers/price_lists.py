"""Reads the lists of models and prices that OpenAI-compatible servers publish."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.arm import Arm
from service.domain.ports import Clock
from service.domain.price_list import ListedModel, read_price_list
from service.domain.proxies import Proxies
from service.providers.http import HttpClient, Post
from service.providers.keys import api_key
from service.providers.openai_request import base_url

MODELS = "/models"


class HttpPriceLists:
    """A PriceLists.

    Args:
        secrets: where `api_key_env` is looked up, usually the environment.
        timeout_s: limit of each list.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock, *, timeout_s: float) -> None:
        self._secrets = secrets
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._timeout_s = timeout_s

    async def read(self, arm: Arm) -> Mapping[str, ListedModel]:
        key = api_key(arm, self._secrets)
        post = Post(
            arm=arm,
            url=f"{base_url(arm)}{MODELS}",
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            body={},
            timeout_s=self._timeout_s,
            secret=key,
        )
        return read_price_list(await self._http.document(post))

    async def close(self) -> None:
        await self._http.close()
