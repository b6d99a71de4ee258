from __future__ import annotations

import re

import pytest

from service.conversations.client_ids import decoded, encoded

STRANGE = [
    "functions.weather:0",
    "call 1",
    "",
    " ",
    "a/b+c=",
    "id\n",
    "Grüße \N{FIRE}",
    "cut \ud83d",
    "a\0b",
    "call_1__thought__CpcC+/=",
    "." * 5_000,
    "toolu_enc_",
    "toolu_enc_x",
    encoded("functions.weather:0"),
]


@pytest.mark.parametrize("call_id", ["call_1", "toolu_01A-b_c", "chatcmpl-tool-" + "a" * 32, "0", "x" * 500])
def test_an_id_that_clients_accept_is_unchanged(call_id: str) -> None:
    assert encoded(call_id) == call_id
    assert decoded(call_id) == call_id


@pytest.mark.parametrize("call_id", STRANGE)
def test_any_other_id_comes_back_from_the_clients(call_id: str) -> None:
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", encoded(call_id))
    if call_id:
        assert decoded(encoded(call_id)) == call_id


def test_different_ids_stay_different() -> None:
    assert len({encoded(call_id) for call_id in STRANGE}) == len(STRANGE)


@pytest.mark.parametrize(
    "use_id", ["toolu_enc_", "toolu_enc_!", "toolu_enc_YQ==", "toolu_enc_gA", "toolu_enc_YWI"]
)
def test_an_id_that_the_router_did_not_encode_is_the_clients_own(use_id: str) -> None:
    assert decoded(use_id) == use_id
