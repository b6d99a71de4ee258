"""Which arms may get a caller's key: those of one provider."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from service.arms.call_keys import NO_CLIENT_KEY, SEVERAL_PROVIDERS, NoLogins, without_key
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.arm import Arm
from service.domain.credentials import Credential
from service.domain.query import Query

GPT = Arm("gpt", "openai", "gpt", base_url="https://api.openai.com/v1", takes_client_key=True)
MINI = replace(GPT, arm_id="mini")
CLAUDE = Arm("claude", "anthropic", "claude", takes_client_key=True)
HOUSE = Arm("house", "openai", "gpt", base_url="https://api.openai.com/v1", api_key_env="KEY")
LOGIN = replace(HOUSE, arm_id="login", api_key_env=None, auth="vendor")
EVERY = (GPT, MINI, CLAUDE, HOUSE)


@pytest.fixture
def query() -> Query:
    received = Received(
        headers={"authorization": "Bearer sk-secret"},
        tenant="default",
        request_id="r-1",
        request_id_given=False,
        received_at=datetime(2026, 11, 20, tzinfo=UTC),
        credential=Credential("sk-secret", is_bearer=True),
    )
    return read_query(orjson.dumps({"messages": [{"role": "user", "content": "Hi"}]}), received)


def test_models_of_one_provider_share_the_key(query: Query) -> None:
    assert without_key((GPT, MINI, HOUSE), (GPT, MINI, HOUSE), query, NoLogins()) == {}


def test_models_of_several_providers_get_none(query: Query) -> None:
    reasons = without_key(EVERY, EVERY, query, NoLogins())

    assert reasons == dict.fromkeys(("gpt", "mini", "claude"), SEVERAL_PROVIDERS)


def test_a_key_for_a_named_model_is_kept_from_the_models_of_others_that_may_stand_in(query: Query) -> None:
    assert without_key(EVERY, (GPT,), query, NoLogins()) == {"claude": SEVERAL_PROVIDERS}


def test_without_a_key_none_is_called(query: Query) -> None:
    reasons = without_key(EVERY, EVERY, replace(query, _credential=None), NoLogins())

    assert reasons == dict.fromkeys(("gpt", "mini", "claude"), NO_CLIENT_KEY)


def test_a_login_that_nobody_configured_is_named(query: Query) -> None:
    assert "'vendor'" in without_key((LOGIN,), (LOGIN,), query, NoLogins())["login"]


def test_the_key_is_in_no_text_of_the_query_and_not_spooled(query: Query) -> None:
    assert query.credential is not None
    assert "sk-secret" not in repr(query) + repr(query.credential)
    assert b"sk-secret" not in orjson.dumps(query, default=repr)
