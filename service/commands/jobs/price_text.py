"""A price as the operator reads it."""

from __future__ import annotations

from service.domain.arm import Price
from service.domain.basics import plain


def price_text(price: Price | None) -> str:
    if price is None:
        return "price UNKNOWN"
    if price.is_free:
        return "free"
    return f"${plain(price.input)} in, ${plain(price.output)} out per million tokens"
