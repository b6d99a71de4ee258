from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from service.errors import StartupError
from service.settings.load import config_path, load_settings, overlaid
from service.settings.settings import Settings

MODEL = "{id: a, provider: simulator, model: a}"


def from_yaml(folder: Path, text: str, **environ: str) -> Settings:
    path = folder / "config.yaml"
    path.write_text(text, "utf-8")
    return load_settings(path, environ)


def error_of(folder: Path, text: str = "", **environ: str) -> str:
    """The error of rejected settings, which is always one line."""
    with pytest.raises(StartupError) as refused:
        from_yaml(folder, text, **environ)
    message = str(refused.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["модель", "two words", "x\r\nX-Evil: 1", "", "x" * 129])
@pytest.mark.parametrize("field", ["id", "aliases"])
def test_a_name_that_fits_no_header_stops_the_start(tmp_path: Path, name: str, field: str) -> None:
    model = {"id": "fine", "provider": "simulator", "model": "sim-small"}
    entry = {**model, field: [name] if field == "aliases" else name}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"models": [entry]}), "utf-8")

    with pytest.raises(StartupError, match=rf"models\[0\]\.{field}"):
        load_settings(config, {})


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings(None, {})

    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.database_url is None
    assert settings.models == ()


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = from_yaml(tmp_path, "port: 1234\ncost_weight: -0.5", PORT="4321")

    assert settings.port == 4321
    assert settings.cost_weight == -0.5


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("FEEDBACK_WEIGHT", "0.9", 0.9),
        ("COST_WEIGHT", "-1", -1.0),
        ("EXPLORATION_RATE", "0.1", 0.1),
        ("MAX_SIMILAR_REQUESTS", "50", 50),
        ("BUDGET_USD_PER_REQUEST", "0.002", Decimal("0.002")),
        ("ENABLE_PERSISTENCE", "false", False),
        ("CACHE_ENABLED", "true", True),
        ("LOG_FORMAT", "json", "json"),
        ("LOG_LEVEL", "ERROR", "error"),
        ("LOG_LEVEL", "warn", "warning"),
        ("LOG_LEVEL", "Critical", "critical"),
        ("LOG_LEVEL", "FATAL", "critical"),
        ("LLM_MODELS", "a, openai/b ,,c", ("a", "openai/b", "c")),
        ("CORS_ORIGINS", "https://a.example,https://b.example", ("https://a.example", "https://b.example")),
        ("DATA_DIR", "elsewhere", Path("elsewhere")),
        ("MAX_BODY_BYTES", "5000", 5000),
    ],
)
def test_every_kind_of_knob_is_read_from_the_environment(variable: str, value: str, expected: object) -> None:
    assert getattr(load_settings(None, {variable: value}), variable.lower()) == expected


def test_an_empty_variable_counts_as_absent() -> None:
    assert load_settings(None, {"PORT": "", "DEFAULT_MODEL": ""}).port == 8080


def test_a_mapping_may_be_merged_into_others_that_override_it(tmp_path: Path) -> None:
    text = "models: [&a {id: a, provider: simulator, model: m}, &b {<<: *a, id: b}, {<<: *b, id: c}]"

    assert [model.id for model in from_yaml(tmp_path, text).models] == ["a", "b", "c"]


def test_a_list_may_be_written_as_yaml_has_it(tmp_path: Path) -> None:
    assert from_yaml(tmp_path, "llm_models: [a, b]").llm_models == ("a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 8080", "unknown key `prot`; did you mean `port`?"),
        ("exploration_rate: yes", "line 1: exploration_rate must not be true or false, got true"),
        ("port: 8080\ncost_weight: 0\nport: 8081", "line 3: not YAML: key `port` is repeated"),
        ("models: [{id: a, id: b, provider: simulator, model: a}]", "key `id` is repeated"),
        (
            "models: [{id: a, provider: simulator, model: a, capabilities: [tool]}]",
            "models[0].capabilities[0] must be tools, ",
        ),
        ("Port: 8080", "unknown key `Port`; did you mean `port`?"),
        ("budget_usd: 1", "unknown key `budget_usd`; did you mean `budget_usd_per_request`?"),
        ("zzz: 1", "unknown key `zzz`"),
        (
            "models: [{id: a, provider: simulator, model: a, prise: 1}]",
            "unknown key `models[0].prise`; did you mean `price`?",
        ),
        ("models: [{id: a, provider: simulator}]", "models[0].model is required"),
        ("models: [{id: a, provider: openai, model: a}]", "provider openai needs base_url"),
        (
            "models: [{id: a, provider: anthropic, model: a, extra_fields: {model: b, top_k: 1}}]",
            "extra_fields must not change model",
        ),
        (
            "models: [{id: a, provider: anthropic, model: a, drop: [stream, messages]}]",
            "drop must not change messages, stream",
        ),
        (
            "models: [{id: a, provider: anthropic, model: a, rename: {user: model}}]",
            "rename must not change model",
        ),
        (
            "models: [{id: a, provider: litellm, model: a, extra_fields: {api_base: x}, rename: {n: m}}]",
            "LiteLLM passes on fields of Chat Completions only, and not api_base, m",
        ),
        ("models: [{id: a, provider: simulator, model: a, extra_fields: top_k}]", "must be a list of names"),
        (
            "models: [{id: a, provider: unknown, model: a}]",
            "models[0].provider must be openai, anthropic, litellm or simulator, got 'unknown'",
        ),
        (
            "models: [{id: a, provider: simulator, model: a, price: {input: -1, output: 1}}]",
            "models[0].price.input must be at least 0, got -1",
        ),
        (
            "models: [{id: a, provider: simulator, model: a, chat_template: '{% for %}'}]",
            "is not a Jinja template",
        ),
        (f"models: [{MODEL}, {MODEL}]", "['a']"),
        ("models: [{id: auto, provider: simulator, model: a}]", "not `auto`"),
        (
            "models: [{id: a, provider: simulator, model: a, aliases: [b]},"
            " {id: b, provider: simulator, model: b}]",
            "['b']",
        ),
        ("port: 99999", "port must be at most 65535, got 99999"),
        ("cost_weight: 0.2", "cost_weight must be at most 0, got 0.2"),
        ("exploration_rate: 1.5", "exploration_rate must be at most 1, got 1.5"),
        ("recency_days: .nan", "recency_days must be a"),
        ("optimistic_prior: 1", "optimistic_prior must be below 1, got 1"),
        ("similarity_threshold: high", "similarity_threshold must be a number, got 'high'"),
        (
            "embedding_backend: word2vec",
            "embedding_backend must be words, minilm, sentence-transformers or http",
        ),
        ("embedding_backend: http", "embedding_backend http needs embedding_base_url and embedding_model"),
        ("1: 2", "1"),
        ("[1, 2]", "must contain keys and values, got a list"),
        ("just words", "must contain keys and values, got 'just words'"),
        ("port: [unclosed", "line 1: not YAML"),
        ("port: 1\n\tport: 2", "line 2: not YAML"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_that_names_the_key(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in error_of(tmp_path, text)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "eighty"),
        ("LOG_LEVEL", "loud"),
        ("ALLOW_ANONYMOUS", "perhaps"),
        ("CACHE_TTL_SECONDS", "0"),
        ("BUDGET_USD_PER_REQUEST", "-1"),
        ("MIN_CONFIDENCE_SCORE", "nan"),
    ],
)
def test_a_broken_variable_is_refused_in_one_line_that_names_it(
    tmp_path: Path, variable: str, value: str
) -> None:
    message = error_of(tmp_path, **{variable: value})

    assert message.startswith(f"environment: {variable} must be ")
    assert repr(value) in message


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"^CONFIG_FILE: cannot read .*nowhere.yaml: No such file"):
        load_settings(tmp_path / "nowhere.yaml", {})


def test_the_file_is_named_by_the_environment() -> None:
    assert config_path({"CONFIG_FILE": "some.yaml"}) == Path("some.yaml")


# --- where it listens


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_any_loopback_address_will_do(host: str) -> None:
    assert load_settings(None, {"HOST": host}).host == host


# --- names that other programs use


@pytest.mark.parametrize(
    ("environ", "models", "default"),
    [
        ({"LLM_MODEL": "a"}, ("a",), "a"),
        ({"LLM_MODEL": "a", "LLM_MODELS": "b, a"}, ("a", "b", "a"), "a"),
        ({"LLM_MODEL": "a", "DEFAULT_MODEL": "b", "LLM_MODELS": "b"}, ("a", "b"), "b"),
        ({"LLM_MODELS": "b"}, ("b",), None),
    ],
)
def test_one_model_is_the_default_and_in_use(
    environ: dict[str, str], models: tuple[str, ...], default: str | None
) -> None:
    settings = load_settings(None, environ)

    assert (settings.llm_models, settings.default_model) == (models, default)


@pytest.mark.parametrize(
    ("environ", "attempts"),
    [({"LLM_RETRIES": "0"}, 1), ({"LLM_RETRIES": "4"}, 5), ({"LLM_RETRIES": "4", "MAX_ATTEMPTS": "2"}, 2)],
)
def test_retries_are_attempts_less_one(environ: dict[str, str], attempts: int) -> None:
    assert load_settings(None, environ).max_attempts == attempts


def test_retries_that_break_the_rule_are_named(tmp_path: Path) -> None:
    many = error_of(tmp_path, LLM_RETRIES="10")

    assert many == "environment: LLM_RETRIES + 1 must be at most 10, got '11'"
    assert "LLM_RETRIES + 1 must be a whole number, got 'some'" in error_of(tmp_path, LLM_RETRIES="some")


# --- the database


def test_the_database_may_be_given_in_parts() -> None:
    settings = load_settings(
        None,
        {
            "DATABASE_HOST": "db",
            "DATABASE_PORT": "5433",
            "DATABASE_USER": "me@home",
            "DATABASE_PASSWORD": "p/w:d",
            "DATABASE_NAME": "routes",
        },
    )

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://me%40home:p%2Fw%3Ad@db:5433/routes"


def test_a_host_alone_names_the_usual_database() -> None:
    settings = load_settings(None, {"DATABASE_HOST": "db"})

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://postgres@db:5432/router"


def test_a_whole_database_url_overrides_its_parts() -> None:
    settings = load_settings(None, {"DATABASE_URL": "postgresql://a/b", "DATABASE_HOST": "db"})

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://a/b"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_a_database_url_of_other_libraries_is_read(scheme: str) -> None:
    settings = load_settings(None, {"DATABASE_URL": f"{scheme}://me:p@a:1,b:2/c?x=y"})

    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://me:p@a:1,b:2/c?x=y"


@pytest.mark.parametrize(
    "dsn", ["nonsense", "mysql://me:hush@db/router", "//me:hush@db", "host=db password=hush"]
)
def test_a_database_url_of_another_kind_is_rejected_without_its_password(tmp_path: Path, dsn: str) -> None:
    assert error_of(tmp_path, DATABASE_URL=dsn) == (
        "environment: DATABASE_URL must look like postgresql://user:password@host:5432/name"
    )


# --- secrets


def test_secrets_never_show() -> None:
    settings = load_settings(
        None,
        {
            "DATABASE_URL": "postgresql://me:hush@db/router",
            "QDRANT_API_KEY": "hush",
            "EMBEDDING_API_KEY": "hush",
        },
    )

    assert "hush" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_refusal_does_not_quote_secrets(tmp_path: Path) -> None:
    message = error_of(tmp_path, "database_url: [hush]")

    assert "hush" not in message
    assert "database_url" in message


def test_the_admin_key_comes_from_the_environment_alone(tmp_path: Path) -> None:
    assert load_settings(None, {"ADMIN_KEY": "0123456789abcdef"}).admin_key is not None
    with pytest.raises(StartupError, match="ADMIN_KEY") as in_yaml:
        from_yaml(tmp_path, "admin_key: 0123456789abcdef")
    with pytest.raises(StartupError, match=r"ADMIN_KEY.*16") as short:
        load_settings(None, {"ADMIN_KEY": "hunter2"})
    assert "0123456789abcdef" not in str(in_yaml.value)
    assert "hunter2" not in str(short.value)


def test_an_overlay_replaces_the_keys_it_has(tmp_path: Path) -> None:
    overlay = tmp_path / "candidate.yaml"
    overlay.write_text("cost_weight: -0.3\n")
    running = Settings.model_validate({"latency_weight": 0.5, "database_url": "postgresql://host/router"})

    candidate = overlaid(running, overlay)

    assert candidate == running.model_copy(update={"cost_weight": -0.3})


def test_an_overlay_that_breaks_a_rule_stops_with_its_name(tmp_path: Path) -> None:
    overlay = tmp_path / "candidate.yaml"
    overlay.write_text("cost_weight: 0.3\n")

    with pytest.raises(StartupError, match="cost_weight"):
        overlaid(Settings.model_validate({}), overlay)
