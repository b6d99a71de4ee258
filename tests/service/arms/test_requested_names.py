from __future__ import annotations

from pathlib import Path

import pytest

from service.arms.configured import choose_arms
from service.errors import StartupError
from service.settings.load import load_settings

MODELS = """\
models:
  - {id: a, provider: openai, model: m, base_url: http://h/v1, aliases: [first]}
  - {id: b, provider: openai, model: m2, base_url: http://h/v1}
"""


def start(folder: Path, aliases: str) -> None:
    file = folder / "config.yaml"
    file.write_text(MODELS + aliases)
    environ = {"CONFIG_FILE": str(file)}
    choose_arms(load_settings(file, environ), environ, [], [])


@pytest.mark.parametrize(
    "aliases",
    [
        "aliases: {}",
        "aliases: {sonnet: auto, fast: [a, b], old: first, claude-router: null}",
        "aliases: {claude-router: [a, b]}",
    ],
)
def test_aliases_of_models_in_use_are_accepted(tmp_path: Path, aliases: str) -> None:
    start(tmp_path, aliases)


@pytest.mark.parametrize(
    ("aliases", "fault"),
    [
        ("fast: [a, c]", "aliases.fast names 'c', which is not one of the models in use: a, b"),
        ("fast: claude-router", "aliases.fast names 'claude-router', which is not one of the models in use"),
        ("a: b", "aliases.a is the name of model a"),
        ("first: b", "aliases.first is the name of model a"),
        ("auto: a", "aliases.auto must not be `auto`"),
        ("fast: [auto, a]", "aliases.fast must be `auto` alone or models, got both"),
        ("fast: []", "aliases.fast must name at least one model"),
        ("fast: 3", "aliases.fast must be a list, got 3"),
        (
            "fast: [a b]",
            "aliases.fast[0] must be 1 to 128 visible ASCII characters without spaces, got 'a b'",
        ),
    ],
)
def test_a_faulty_alias_stops_the_start_with_its_line(tmp_path: Path, aliases: str, fault: str) -> None:
    with pytest.raises(StartupError) as stopped:
        start(tmp_path, f"aliases:\n  good: a\n  {aliases}\n")

    assert str(stopped.value).startswith(f"{tmp_path / 'config.yaml'}, line 6: {fault}")


def test_every_faulty_alias_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"(?s)2 errors.*line 5: aliases.x.*line 6: aliases.y"):
        start(tmp_path, "aliases:\n  x: c\n  y: d\n")


def test_unknown_models_are_substituted_or_rejected(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="unknown_models must be auto or reject, got 'fallback'"):
        start(tmp_path, "unknown_models: fallback\n")
