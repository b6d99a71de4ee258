"""Conversions of values for PostgreSQL."""

from __future__ import annotations

from typing import overload

import numpy as np

from service.domain.basics import Vector


def to_bytes(context: Vector) -> bytes:
    """Float32, little endian."""
    return context.astype("<f4", copy=False).tobytes()


def to_half_bytes(context: Vector) -> bytes:
    """Float16 after one byte for the form: cosines of unit vectors stay within 0.0001.

    The odd length tells it from float32, which earlier versions wrote.
    """
    return b"\x01" + context.astype("<f2").tobytes()


def from_bytes(data: bytes) -> Vector:
    """The vector; a rounded one has length 1 again, as the engines of memories store it."""
    if len(data) % 2:
        context = np.frombuffer(data, dtype="<f2", offset=1).astype(np.float32)
        norm = np.linalg.norm(context)
        return context / norm if norm else context
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


@overload
def storable(text: str) -> str: ...
@overload
def storable(text: str | None) -> str | None: ...
def storable(text: str | None) -> str | None:
    """The text without characters that PostgreSQL cannot store: NUL and lone surrogates."""
    if text is None:
        return None
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
