"""The how-to pages: each of the agreed form, with examples that today's router understands."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from service.cli import app
from service.settings.load import load_settings
from service.settings.settings import Settings
from service.settings.vendors import vendor_variables

FOLDER = Path(__file__).parents[1] / "docs" / "how-to"
PAGES = sorted(set(FOLDER.glob("*.md")) - {FOLDER / "README.md"})
BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")
CLIENTS = {"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_SMALL_FAST_MODEL", "ROUTER_URL"}
NOT_SETTINGS = {"CONFIG_FILE", "POSTGRES_PASSWORD", "SSL_CERT_FILE", *PROXIES, *CLIENTS, *vendor_variables()}

each_page = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)


@each_page
def test_a_page_has_the_agreed_form(path: Path) -> None:
    text = path.read_text("utf-8")
    lines = text.splitlines()

    assert lines[0].startswith("# ")
    assert lines[2] == "How-to."
    assert lines[3].startswith("Goal: ")
    assert 20 <= len(lines) <= 60
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings.index("See that it worked") < headings.index("If it did not")


@each_page
def test_yaml_examples_are_settings(path: Path, tmp_path: Path) -> None:
    for number, example in enumerate(blocks(path, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example, "utf-8")

        load_settings(file, {})


@each_page
def test_router_commands_parse(path: Path) -> None:
    for arguments in commands(path):
        assert parses(arguments), arguments


@each_page
def test_shell_examples_are_sound(path: Path) -> None:
    for example in blocks(path, "sh"):
        subprocess.run(["bash", "-n"], input=example, text=True, check=True)


@each_page
def test_bodies_and_rows_are_json(path: Path) -> None:
    rows = [line for example in blocks(path, "jsonl") for line in example.splitlines()]

    for given in [*rows, *bodies(path)]:
        json.loads(given)


@each_page
def test_variables_that_are_set_exist(path: Path) -> None:
    known = {name.upper() for name in Settings.model_fields} | NOT_SETTINGS

    for example in blocks(path, "sh"):
        for name in re.findall(r"(?:^|\s)(?:export )?([A-Z_]+)=", example, re.MULTILINE):
            assert name in known or name.endswith("_API_KEY"), name


def test_there_are_examples_of_every_kind() -> None:
    assert len(PAGES) == 29
    assert sum(1 for path in PAGES for _ in blocks(path, "yaml")) >= 7
    assert sum(1 for path in PAGES for _ in commands(path)) >= 20
    assert sum(1 for path in PAGES for _ in bodies(path)) >= 10


@pytest.mark.parametrize("arguments", [["fly"], ["serve", "--wings", "2"], ["import"]])
def test_a_command_that_does_not_exist_does_not_parse(arguments: list[str]) -> None:
    assert not parses(arguments)


def parses(arguments: list[str]) -> bool:
    """Whether `router` understands these arguments; nothing is run."""
    router = typer.main.get_command(app)
    assert isinstance(router, typer.core.TyperGroup)
    name, *options = arguments
    try:
        router.commands[name].make_context(name, options)
    except (KeyError, typer.TyperException):
        return False
    return True


def blocks(path: Path, language: str) -> Iterator[str]:
    """The examples in that language, wherever they are indented."""
    for _, name, example in BLOCK.findall(path.read_text("utf-8")):
        if name == language:
            yield textwrap.dedent(example)


def commands(path: Path) -> Iterator[list[str]]:
    """The arguments of every `router` command, in examples and in the text."""
    inline = re.findall(r"`([^`\n]+)`", path.read_text("utf-8"))
    for line in [*inline, *"\n".join(blocks(path, "sh")).splitlines()]:
        words = line.split()
        while words and ASSIGNMENT.fullmatch(words[0]):
            del words[0]
        if words[1:] and Path(words[0]).name == "router":
            yield shlex.split(" ".join(words[1:]))


def bodies(path: Path) -> Iterator[str]:
    """What is sent by `curl -d`."""
    for example in blocks(path, "sh"):
        words = shlex.split(example)
        yield from (words[at + 1] for at, word in enumerate(words) if word == "-d")
