"""Which models for embeddings and moderations there are, by the configuration and the keys that are set."""

from __future__ import annotations

import re
import textwrap
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.arms.relayed_models import choose_relayed_models
from service.domain.relayed_model import RelayedModels
from service.errors import StartupError
from service.settings.settings import Settings

DOCS = Path(__file__).parents[3] / "docs"
SERVER = {"base_url": "http://vllm:8000/v1", "model": "bge"}


def chosen(environ: dict[str, str] | None = None, **settings: Any) -> RelayedModels:
    return choose_relayed_models(Settings.model_validate(settings), environ or {})


def ids(models: RelayedModels) -> list[str]:
    return [model.model_id for model in models.embedding]


def test_without_configuration_and_keys_only_the_own_encoder_embeds() -> None:
    assert ids(chosen()) == ["router-minilm"]
    assert chosen().moderation == ()


def test_openais_key_brings_its_models_at_their_prices() -> None:
    models = chosen({"OPENAI_API_KEY": "sk-1"})

    small, large, ada, own = models.embedding
    assert [model.model_id for model in (small, large, ada, own)] == [
        *("text-embedding-3-small", "text-embedding-3-large"),
        *("text-embedding-ada-002", "router-minilm"),
    ]
    [arm] = small.deployments
    assert (arm.base_url, arm.api_key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert (small.dimensions, small.max_input_tokens) == (1536, 8191)
    assert arm.price is not None
    assert (arm.price.input, arm.price.output) == (Decimal("0.02"), Decimal(0))
    assert [model.model_id for model in models.moderation] == ["omni-moderation-latest"]


def test_another_address_of_openais_need_not_have_its_models() -> None:
    models = chosen({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://vllm:8000/v1"})

    assert ids(models) == ["router-minilm"]
    assert models.moderation == ()


def test_configured_models_replace_the_well_known_ones() -> None:
    models = chosen({"OPENAI_API_KEY": "sk-1"}, embedding_models=[{"id": "bge", **SERVER}])

    assert ids(models) == ["bge", "router-minilm"]
    assert [model.model_id for model in models.moderation] == ["omni-moderation-latest"]


def test_entries_of_one_id_are_deployments_of_one_model_in_their_order() -> None:
    entries = [
        {"id": "bge", **SERVER, "aliases": ["a"], "dimensions": 1024, "max_input_tokens": 512},
        {"id": "other", **SERVER},
        {
            "id": "bge",
            **SERVER,
            "base_url": "http://tei:8080",
            "aliases": ["a", "b"],
            "max_input_tokens": 500,
        },
    ]

    bge, other, _ = chosen(embedding_models=entries).embedding

    assert [arm.base_url for arm in bge.deployments] == ["http://vllm:8000/v1", "http://tei:8080/v1"]
    assert (bge.aliases, bge.dimensions, bge.max_input_tokens) == (("a", "b"), 1024, 500)
    assert len(other.deployments) == 1


def test_a_deployment_without_its_key_is_left_out() -> None:
    entries = [
        {"id": "bge", **SERVER, "api_key_env": "BGE_KEY"},
        {"id": "bge", **SERVER, "base_url": "http://b/v1"},
    ]

    models = chosen(embedding_models=entries)

    assert [arm.base_url for arm in models.embedding[0].deployments] == ["http://b/v1"]
    assert models.left_out == ("bge: BGE_KEY is not set",)


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("free", Decimal(0)),
        ({"input": 0.5}, Decimal("0.5")),
        (None, Decimal("0.02")),
    ],
)
def test_a_price_is_configured_or_listed(price: Any, expected: Decimal) -> None:
    entry = {**SERVER, "id": "e", "model": "text-embedding-3-small", "price": price}

    arm = chosen(embedding_models=[entry]).embedding[0].deployments[0]

    assert arm.price is not None
    assert arm.price.input == expected


def test_the_price_of_a_model_that_answers_chats_is_no_price_of_embeddings() -> None:
    entry = {**SERVER, "id": "e", "model": "gpt-4o"}

    assert chosen(embedding_models=[entry]).embedding[0].deployments[0].price is None


def test_the_own_encoder_can_have_other_names() -> None:
    entry = {"id": "router-minilm", "provider": "router", "aliases": ["text-embedding-3-small"]}

    [own] = chosen(embedding_models=[entry]).embedding

    assert (own.names, own.deployments) == (("router-minilm", "text-embedding-3-small"), ())


@pytest.mark.parametrize("backend", ["sentence-transformers", "http"])
def test_another_encoder_is_not_offered_under_the_name_of_the_default_one(backend: str) -> None:
    settings: dict[str, Any] = {
        "embedding_backend": backend,
        "embedding_base_url": "http://e/v1",
        "embedding_model": "e",
    }

    assert ids(chosen(**settings)) == []
    with pytest.raises(StartupError, match="needs EMBEDDING_BACKEND=words or minilm"):
        chosen(**settings, embedding_models=[{"id": "own", "provider": "router"}])


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        (
            [{"id": "e", **SERVER, "dimensions": 3}, {"id": "e", **SERVER, "dimensions": 4}],
            "different dimensions",
        ),
        ([{"id": "e", **SERVER}, {"id": "e", "provider": "router"}], "cannot be compared"),
        ([{"id": "e", **SERVER, "base_url": "http://127.0.0.1:8080/v1"}], "address of this router itself"),
    ],
)
def test_contradictions_and_loops_stop_the_start(entries: Any, reason: str) -> None:
    with pytest.raises(StartupError, match=reason):
        chosen(embedding_models=entries)


def test_a_key_that_no_header_can_hold_stops_the_start() -> None:
    with pytest.raises(StartupError, match="BGE_KEY must be visible ASCII"):
        chosen({"BGE_KEY": "two words"}, embedding_models=[{"id": "e", **SERVER, "api_key_env": "BGE_KEY"}])


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"embedding_models": [{"id": "e", "model": "m"}]}, "needs base_url and model"),
        ({"embedding_models": [{"id": "e", "base_url": "http://a/v1"}]}, "needs base_url and model"),
        ({"embedding_models": [{"id": "e", **SERVER, "provider": "litellm"}]}, "provider"),
        ({"embedding_models": [{"id": "e", **SERVER, "price": {"input": -1}}]}, "greater than or equal"),
        ({"embedding_models": [{"id": "e", **SERVER, "dimension": 3}]}, "dimension"),
        (
            {"embedding_models": [{"id": "e", **SERVER, "aliases": ["f"]}, {"id": "f", **SERVER}]},
            "must be unique, got \\['f'\\]",
        ),
        (
            {
                "models": [{"id": "e", "provider": "simulator", "model": "s"}],
                "embedding_models": [{"id": "e", **SERVER}],
            },
            "must be unique, got \\['e'\\]",
        ),
        ({"moderation_models": [{"id": "m", "provider": "openai"}]}, "needs base_url and model"),
    ],
)
def test_faulty_entries_are_refused(settings: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Settings.model_validate(settings)


@pytest.mark.parametrize(
    ("page", "n_deployments"),
    [
        ("configuration.md", {"text-embedding-3-small": 2, "router-minilm": 0}),
        ("how-to/serve-embeddings.md", {"bge-m3": 2, "router-minilm": 0}),
    ],
)
def test_the_documented_entries_are_sound(page: str, n_deployments: dict[str, int]) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)
    entries = [
        entry
        for block in map(textwrap.dedent, blocks)
        if "base_url" in block
        for loaded in [yaml.safe_load(block)]
        for entry in (loaded if isinstance(loaded, list) else loaded.get("embedding_models", []))
    ]

    models = chosen({"OPENAI_API_KEY": "k", "AZURE_API_KEY": "k"}, embedding_models=entries).embedding

    assert {model.model_id: len(model.deployments) for model in models} == n_deployments
