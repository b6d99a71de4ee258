"""JSON from outside, measured on its bytes before any object is built.

A byte of JSON can become thirty bytes of objects, and orjson builds them without releasing the interpreter:
20 MB of `[],[],` would take a gigabyte and stop every other request for seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import orjson

BLOCK_BYTES = 2**18  # stays in the processor's cache


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a JSON document in objects.

    Args:
        depth: levels of nested objects and lists.
        n_containers: objects and lists.
        n_values: values, objects and lists included; a member of an object counts as one.
    """

    depth: int
    n_containers: int
    n_values: int


# orjson reads about 1,000 levels, but writes only about 250.
REQUEST = Shape(depth=100, n_containers=100_000, n_values=500_000)
FORM = Shape(depth=20, n_containers=5_000, n_values=10_000)  # a request of a few fields, or a list of such
# The router wraps an upstream's answer in a few more levels. Log probabilities take 150 values a token.
ANSWER = Shape(depth=200, n_containers=500_000, n_values=2_000_000)


class OutOfBounds(ValueError):
    """The document is larger than its bounds. The message completes a sentence that begins with its name."""


def bounded_json(data: bytes, bounds: Shape) -> object:
    """The JSON value.

    Raises:
        OutOfBounds: the document is larger than `bounds`; no object was built.
        orjson.JSONDecodeError: the data is not JSON.
    """
    if len(data) > 2 * bounds.depth:  # a shorter document that is JSON cannot be deeper
        check_bounds(data, bounds)
    return orjson.loads(data)


def check_bounds(data: bytes, bounds: Shape) -> None:
    """Raises OutOfBounds: the document is larger than `bounds`."""
    n_brackets = data.count(b"[") + data.count(b"{")
    # Most documents need no exact measure: brackets and commas in strings count too.
    if n_brackets > bounds.depth or n_brackets + data.count(b",") >= bounds.n_values:
        _check(shape_of(data), bounds)


def _check(shape: Shape, bounds: Shape) -> None:
    if shape.depth > bounds.depth:
        raise OutOfBounds(f"must be nested at most {bounds.depth} levels deep, got {shape.depth}")
    if shape.n_containers > bounds.n_containers:
        raise OutOfBounds(
            f"must hold at most {bounds.n_containers} objects and lists, got {shape.n_containers}"
        )
    if shape.n_values > bounds.n_values:
        raise OutOfBounds(f"must hold at most {bounds.n_values} values, got {shape.n_values}")


def shape_of(data: bytes) -> Shape:
    """The shape of a JSON document, in one pass over its bytes.

    It is exact for non-empty containers, counts the missing value of an empty one, and means nothing for data
    that is not JSON.
    """
    if b"\\" in data:  # then the quotes that are left are those around strings
        data = data.replace(rb"\\", b"").replace(rb"\"", b"")
    all_bytes = np.frombuffer(data, np.uint8)
    depth = deepest = n_containers = n_commas = 0
    is_in_string = np.uint8(0)
    for start in range(0, len(all_bytes), BLOCK_BYTES):
        block = all_bytes[start : start + BLOCK_BYTES]
        in_string = np.bitwise_xor.accumulate((block == ord('"')).view(np.uint8)) ^ is_in_string
        is_in_string = in_string[-1]
        outside = in_string == 0
        n_commas += int(np.count_nonzero((block == ord(",")) & outside))
        bracket = block | 0x20  # which makes `[` and `]` the same as `{` and `}`
        steps = ((bracket == ord("{")) & outside).view(np.int8) - ((bracket == ord("}")) & outside)
        steps = steps[steps != 0]
        if len(steps):
            depths = depth + np.cumsum(steps, dtype=np.int64)
            depth, deepest = int(depths[-1]), max(deepest, int(depths.max()))
            n_containers += int(np.count_nonzero(steps > 0))
    return Shape(deepest, n_containers, 1 + n_containers + n_commas)
