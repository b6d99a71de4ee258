"""Thinking of models other than Anthropic's, as blocks that clients of Anthropic's dialect bring back.

Anthropic signs its thinking and rejects any other. Other models have no signatures, and some demand their
thinking back in a tool loop (DeepSeek, Kimi). The router's mark in the place of the signature distinguishes
the two.
"""

from __future__ import annotations

from typing import Any

from service.domain.basics import Json

SIGNATURE = "bGxtLXJvdXRlcg=="  # "llm-router" in base64, as clients expect of a signature


def thinking_block(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": SIGNATURE}


def is_unsigned(block: Any) -> bool:
    """Whether the block is one that the router made."""
    is_marked = isinstance(block, dict) and block.get("signature") == SIGNATURE
    return is_marked and block.get("type") == "thinking" and isinstance(block.get("thinking"), str)


def without_unsigned_thinking(message: Json) -> Json | None:
    """The message without the blocks that the router made; None if nothing else is in it."""
    content = message.get("content")
    if not isinstance(content, list) or not any(map(is_unsigned, content)):
        return message
    signed = [block for block in content if not is_unsigned(block)]
    return {**message, "content": signed} if signed else None
