from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from service.errors import StartupError
from service.settings.faults import got
from service.settings.load import Loaded, load_settings, read_environment, read_settings
from service.settings.models import ModelSettings, PriceSettings
from service.settings.settings import Settings

MODEL: dict[str, Any] = {"id": "a", "provider": "simulator", "model": "m"}
GARBAGE = [None, True, "nonsense text", -1.5, 10**30, [], ["two words", 1], {}, {"a": 1}, float("nan")]


def faults(folder: Path, text: str | bytes, **environ: str) -> list[str]:
    path = folder / "config.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return shown(read_settings(path, environ), folder)


def shown(loaded: Loaded, folder: Path) -> list[str]:
    assert (loaded.settings is None) == bool(loaded.faults)
    return [str(fault).replace(f"{folder}/", "") for fault in loaded.faults]


def test_all_faults_are_reported_at_once_each_with_its_place(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# ours\nPORT=abc\nno variable\n")
    (tmp_path / "config.yaml").write_text(
        """
log_level: loud
prot: 1
models:
  - id: a
    provider: simulator
    model: m
    price:
      input: abc
      output: 1
  - {id: b, provider: simulator}
"""
    )
    environ = read_environment({"RECENCY_DAYS": "soon"}, tmp_path / ".env")

    assert sorted(shown(read_settings(tmp_path / "config.yaml", environ), tmp_path)) == [
        ".env, line 2: PORT must be a whole number, got 'abc'",
        ".env, line 3: must be NAME=value",
        "config.yaml, line 11: models[1].model is required",
        "config.yaml, line 2: log_level must be debug, info, warning, error or critical, got 'loud'",
        "config.yaml, line 3: unknown key `prot`; did you mean `port`?",
        "config.yaml, line 9: models[0].price.input must be a number, got 'abc'",
        "environment: RECENCY_DAYS must be a number, got 'soon'",
    ]


def test_unknown_keys_are_reported_with_the_key_that_was_meant(tmp_path: Path) -> None:
    price = "{inputs: 1, input: 1, output: 1}"
    text = f"models: [{{id: a, provider: simulator, model: m, alias: [b], price: {price}}}]"

    assert sorted(faults(tmp_path, text)) == [
        "config.yaml, line 1: unknown key `models[0].alias`; did you mean `aliases`?",
        "config.yaml, line 1: unknown key `models[0].price.inputs`; did you mean `input`?",
    ]


def test_several_faults_are_one_error_with_a_line_each() -> None:
    with pytest.raises(StartupError) as stopped:
        load_settings(None, {"PORT": "x", "COST_WEIGHT": "y"})

    title, *lines = str(stopped.value).split("\n  ")
    assert title == "2 errors in the settings:"
    assert sorted(lines) == [
        "environment: COST_WEIGHT must be a number, got 'y'",
        "environment: PORT must be a whole number, got 'x'",
    ]


def test_a_broken_file_does_not_hide_the_faults_of_the_environment(tmp_path: Path) -> None:
    assert faults(tmp_path, "port: [", PORT="x") == [
        "config.yaml, line 1: not YAML: expected the node content, but found '<stream end>'",
        "environment: PORT must be a whole number, got 'x'",
    ]


def test_a_rule_between_keys_is_not_applied_to_half_of_them(tmp_path: Path) -> None:
    broken = faults(tmp_path, "embedding_model: m\nport: [", EMBEDDING_BACKEND="http")

    assert len(broken) == 1
    assert broken[0].startswith("config.yaml, line 2: not YAML")


def test_a_rule_between_keys_is_reported_where_its_key_stands(tmp_path: Path) -> None:
    models = "models:\n  - {id: auto, provider: simulator, model: m}"

    assert faults(tmp_path, f"port: 1\n{models}")[0].startswith(
        "config.yaml, line 2: models: ids and aliases"
    )


def test_merged_keys_are_found_where_they_are_written(tmp_path: Path) -> None:
    text = """models:
  - &a
    id: a
    provider: simulator
    model: m
    timeout_s: soon
  - <<: *a
    id: b
    timeout_s: later
"""
    assert faults(tmp_path, text) == [
        "config.yaml, line 6: models[0].timeout_s must be a number, got 'soon'",
        "config.yaml, line 9: models[1].timeout_s must be a number, got 'later'",
    ]


def test_a_key_may_override_a_merged_one_wherever_its_mapping_stands(tmp_path: Path) -> None:
    text = "models: [&a {id: a, provider: simulator, model: m}, &b {<<: *a, id: b}, {<<: *b, id: c}]"

    assert faults(tmp_path, text) == []


def test_an_anchor_that_contains_itself_ends(tmp_path: Path) -> None:
    assert faults(tmp_path, "models: &a [*a]") == [
        "config.yaml, line 1: models[0] must be keys and values, got a list"
    ]


@pytest.mark.parametrize("text", ["port: 1".encode("utf-16"), "port: 1".encode("utf-16-le")])
def test_utf_16_yaml_is_a_fault_that_says_how_to_save_the_file(tmp_path: Path, text: bytes) -> None:
    [fault] = faults(tmp_path, text)

    assert fault.startswith("CONFIG_FILE: config.yaml is UTF-16 text: save it as UTF-8")


def test_latin_1_yaml_is_a_fault_with_its_line(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "port: 1\n# für\n".encode("latin-1"))

    assert fault.startswith("CONFIG_FILE: config.yaml, line 2: not UTF-8 text, perhaps Latin-1")


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert faults(tmp_path, b"\xef\xbb\xbfport: 1") == []


PLACES = [
    *((name, [name]) for name in Settings.model_fields if name != "models"),
    ("models", ["models"]),
    *((f"models[0].{name}", ["models", 0, name]) for name in ModelSettings.model_fields),
    *((f"models[0].price.{name}", ["models", 0, "price", name]) for name in PriceSettings.model_fields),
]


def with_value(path: list[str | int], value: object) -> dict[str, Any]:
    if path[0] != "models" or len(path) == 1:
        return {str(path[0]): value}
    if path[2] != "price" or len(path) == 3:
        return {"models": [{**MODEL, str(path[2]): value}]}
    return {"models": [{**MODEL, "price": {"input": 1, "output": 1, str(path[3]): value}}]}


@pytest.mark.parametrize(("name", "path"), PLACES, ids=lambda p: p if isinstance(p, str) else "")
def test_no_fault_speaks_of_the_validator(tmp_path: Path, name: str, path: list[str | int]) -> None:
    for value in GARBAGE:
        for fault in faults(tmp_path, yaml.safe_dump(with_value(path, value))):
            assert "not valid" not in fault
            assert "Input should" not in fault
            assert "Value " not in fault
            assert "{" not in fault
            assert "\n" not in fault
            assert fault.startswith(("config.yaml", "CONFIG_FILE"))


def test_values_of_urls_and_keys_are_not_quoted(tmp_path: Path) -> None:
    text = "qdrant_api_key: [hush]\nembedding_base_url: ftp://me:hush@host\ndatabase_url: 17"

    assert faults(tmp_path, text, QDRANT_URL="ftp://me:hush@host", ADMIN_KEY="hush") == [
        "config.yaml, line 3: database_url must be text",
        "environment: QDRANT_URL must begin with https:// or http://",
        "config.yaml, line 1: qdrant_api_key must be text",
        "environment: ADMIN_KEY must have at least 16 characters",
        "config.yaml, line 2: embedding_base_url must begin with https:// or http://",
    ]


def test_a_long_value_is_cut() -> None:
    assert len(got("x" * 10_000)) < 100
    assert (got(True), got(None), got({}), got([]), got(1.5), got("a")) == (
        "true",
        "nothing",
        "keys and values",
        "a list",
        "1.5",
        "'a'",
    )
