from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import bounded_json as module
from service.domain.bounded_json import ANSWER, REQUEST, OutOfBounds, Shape, bounded_json, shape_of

TEXTS = st.text(alphabet='a"\\[]{},: é🙂\n', max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def counted(value: Any, depth: int = 1) -> tuple[int, int, int]:
    """Depth, containers and values, by walking the objects; an empty container counts one value more."""
    if not isinstance(value, list | dict):
        return depth - 1, 0, 1
    members = list(value.values()) if isinstance(value, dict) else value
    inner = [counted(member, depth + 1) for member in members] or [(depth, 0, 1)]
    return max(d for d, _, _ in inner), 1 + sum(c for _, c, _ in inner), 1 + sum(n for _, _, n in inner)


@pytest.mark.parametrize("block_bytes", [1, 3, 2**18])
@given(value=VALUES, indented=st.booleans())
def test_the_bytes_show_the_shape_of_the_objects(block_bytes: int, value: Any, indented: bool) -> None:
    data = json.dumps(value, indent=2 if indented else None, ensure_ascii=not indented).encode()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", block_bytes)
        shape = shape_of(data)

    assert shape == Shape(*counted(value))


def nested(depth: int) -> bytes:
    return b"[" * depth + b"0" + b"]" * depth


BOUNDS = Shape(depth=8, n_containers=40, n_values=100)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (nested(9), "must be nested at most 8 levels deep, got 9"),
        (b'{"a":' * 9 + b"0" + b"}" * 9, "must be nested at most 8 levels deep, got 9"),
        (b"[" + b"[]," * 40 + b"0]", "must hold at most 40 objects and lists, got 41"),
        (b"[" + b'{"a":{}},' * 25 + b"0]", "must hold at most 40 objects and lists, got 51"),
        (b"[" + b"0," * 99 + b"0]", "must hold at most 100 values, got 101"),
        (b"{" + b'"a":0,' * 99 + b'"a":0}', "must hold at most 100 values, got 101"),
        (b"[" * 10_000, "must be nested at most 8 levels deep, got 10000"),
    ],
    ids=["lists", "objects", "many lists", "many objects", "items", "repeated members", "unclosed"],
)
def test_a_document_beyond_its_bounds_is_rejected(data: bytes, message: str) -> None:
    with pytest.raises(OutOfBounds) as error:
        bounded_json(data, BOUNDS)

    assert str(error.value) == message


@pytest.mark.parametrize(
    "data",
    [
        nested(8),
        b"[" + b"[0]," * 39 + b"0]",
        b"[" + b"0," * 98 + b"0]",
        orjson.dumps(['[{,"\\' * 1_000, {'"[': "\\"}]),
        b"0",
    ],
    ids=["depth", "containers", "values", "brackets in strings", "scalar"],
)
def test_a_document_at_its_bounds_is_read(data: bytes) -> None:
    assert bounded_json(data, BOUNDS) == json.loads(data)


@pytest.mark.parametrize("data", [b"", b"[", b"nul", b'"\xff"', b"[" + b"0," * 5])
def test_what_is_not_json_stays_an_error_of_json(data: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        bounded_json(data, BOUNDS)


@pytest.mark.parametrize("bounds", [REQUEST, ANSWER])
@pytest.mark.parametrize("item", [b"[", b"[],", b"0,"])
def test_no_object_is_built_beyond_the_bounds(
    bounds: Shape, item: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orjson, "loads", lambda data: pytest.fail("was parsed"))

    with pytest.raises(OutOfBounds):
        bounded_json(b"[" + item * (bounds.n_values + 1) + b"0]", bounds)
