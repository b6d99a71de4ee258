"""The request that an OpenAI-compatible server gets."""

from __future__ import annotations

from service.domain.arm import Arm
from service.domain.basics import Json

ENDPOINT = "/chat/completions"
OPENAI_BASE_URL = "https://api.openai.com/v1"


def base_url(arm: Arm) -> str:
    """The base URL; one that ends with the endpoint is of a server that answers at its root."""
    return (arm.base_url or OPENAI_BASE_URL).rstrip("/").removesuffix(ENDPOINT)


def upstream_body(arm: Arm, body: Json, *, stream: bool) -> Json:
    """The body with what the router itself sets: the model's name, and usage at the end of a stream."""
    upstream = {**body, "model": arm.model, "stream": stream}
    upstream.pop("stream_options", None)
    if stream and "stream_options" not in arm.drop:
        upstream["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    return upstream
