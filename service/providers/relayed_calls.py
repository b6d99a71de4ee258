"""The calls of OpenAI-compatible servers for anything but chats."""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.http import Post
from service.providers.keys import api_key
from service.providers.openai_request import base_url


def call(arm: Arm, secrets: Mapping[str, str], endpoint: str, body: Json, timeout_s: float) -> Post:
    """A call of the arm's server. Raises ProviderBroken: the key that the arm needs is not set."""
    key = api_key(arm, secrets)
    return Post(
        arm=arm,
        url=f"{base_url(arm)}{endpoint}",
        headers={} if key is None else {"Authorization": f"Bearer {key}"},
        body=body,
        timeout_s=timeout_s,
        silence_s=arm.timeout_s,
        secret=key,
    )
