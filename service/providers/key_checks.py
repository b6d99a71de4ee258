"""Asks providers whether they accept a key, by a request that costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from service.domain.arm import Arm
from service.domain.key_check import REJECTING_STATUSES, KeyCheck
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.errors import ProviderError
from service.providers.anthropic import ANTHROPIC_BASE_URL
from service.providers.http import HttpClient, Post
from service.providers.keys import api_key
from service.providers.openai_request import base_url

OPENROUTER_HOST = "openrouter.ai"  # lists its models without a key, and tells about a key elsewhere
ANTHROPIC_VERSION = "2023-06-01"


class HttpKeyChecks:
    """A KeyChecker: lists the models of the arm's server.

    Args:
        secrets: where `api_key_env` is looked up, usually the environment.
        timeout_s: limit of each check.
    """

    def __init__(self, secrets: Mapping[str, str], clock: Clock, *, timeout_s: float) -> None:
        self._secrets = secrets
        self._clock = clock
        self._http = HttpClient(clock, Proxies.of(secrets))
        self._timeout_s = timeout_s

    async def check(self, arm: Arm) -> KeyCheck:
        if arm.provider not in ("openai", "anthropic"):
            return KeyCheck("unknown", f"models of provider {arm.provider} cannot be checked")
        if not arm.has_standing_key:
            return KeyCheck("unknown", f"its key belongs to each call ({arm.key_name})")
        try:
            await self._http.document(self._request(arm))
        except ProviderError as error:
            is_rejected = error.status in REJECTING_STATUSES
            return KeyCheck("rejected" if is_rejected else "unknown", str(error), self._clock())
        return KeyCheck("accepted", at=self._clock())

    async def close(self) -> None:
        await self._http.close()

    def _request(self, arm: Arm) -> Post:
        key = api_key(arm, self._secrets)
        if arm.provider == "anthropic":
            url = f"{(arm.base_url or ANTHROPIC_BASE_URL).rstrip('/')}/v1/models"
            headers = {"anthropic-version": ANTHROPIC_VERSION} | ({} if key is None else {"x-api-key": key})
        else:
            is_openrouter = urlsplit(base_url(arm)).hostname == OPENROUTER_HOST
            url = f"{base_url(arm)}{'/key' if is_openrouter else '/models'}"
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return Post(arm=arm, url=url, headers=headers, body={}, timeout_s=self._timeout_s, secret=key)
