from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.settings.environment import Environment
from service.settings.load import read_environment

KEY = "OPENAI_API_KEY"


def read(folder: Path, content: str | bytes, **process: str) -> Environment:
    file = folder / ".env"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_environment(process, file)


def test_dot_env_gives_what_the_environment_does_not(tmp_path: Path) -> None:
    environ = read(tmp_path, 'PORT=1111\nOPENAI_API_KEY="sk-1"\nHOST=\n# a comment\n', PORT="2222")

    assert environ == {"PORT": "2222", KEY: "sk-1"}


def test_dot_env_leaves_the_process_environment_alone(tmp_path: Path) -> None:
    read(tmp_path, "SOMETHING_OF_THE_ROUTER=1\n")

    assert "SOMETHING_OF_THE_ROUTER" not in os.environ


def test_no_dot_env_is_needed(tmp_path: Path) -> None:
    assert read_environment({"A": "1"}, tmp_path / ".env") == {"A": "1"}


def test_a_folder_with_the_name_of_dot_env_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()

    assert read_environment({"A": "1"}, tmp_path / ".env") == {"A": "1"}


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ('"sk-1"', "sk-1"),
        ("'sk-1'", "sk-1"),
        ("sk-1\r", "sk-1"),
        (' "sk-1" \r\n', "sk-1"),
        ('" sk-1 "', "sk-1"),
        ('"', '"'),
        ('"sk-1', '"sk-1'),
        ("\"sk-1'", "\"sk-1'"),
        ('a "b" c', 'a "b" c'),
        ('""', None),
        (" \t", None),
    ],
)
def test_what_docker_and_windows_put_around_a_value_is_removed(value: str, meant: str | None) -> None:
    assert Environment({KEY: value}).get(KEY) == meant


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfOPENAI_API_KEY=sk-1\n",
        b"OPENAI_API_KEY=sk-1\r\nB=2\r\n",
        b"export OPENAI_API_KEY = 'sk-1'  # mine",
        b'OPENAI_API_KEY=" sk-1\r"',
    ],
)
def test_a_dot_env_of_another_editor_is_read(tmp_path: Path, content: bytes) -> None:
    environ = read(tmp_path, content)

    assert (environ[KEY], environ.faults) == ("sk-1", ())


def test_the_place_of_every_variable_is_known(tmp_path: Path) -> None:
    environ = read(tmp_path, '# a\n\nA=1\nB="x\ny"\nC=3\nPORT=1\n', PORT="2")

    assert [environ.where(name) for name in "ABC"] == [f"{tmp_path}/.env, line {n}" for n in (3, 4, 6)]
    assert environ.where("PORT") == "environment"
    assert environ.is_in_file("A")
    assert not environ.is_in_file("PORT")


@pytest.mark.parametrize("line", ["OPENAI_API_KEY sk-1", 'OPENAI_API_KEY="sk-1', "OPENAI_API_KEY: sk-1"])
def test_a_line_that_is_no_variable_is_a_fault_that_does_not_quote_it(tmp_path: Path, line: str) -> None:
    environ = read(tmp_path, f"A=1\n{line}\nB=2\n")

    assert [str(fault) for fault in environ.faults] == [f"{tmp_path}/.env, line 2: must be NAME=value"]
    assert environ == {"A": "1", "B": "2"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_a_fault_that_says_how_to_save_the_file(tmp_path: Path, encoding: str) -> None:
    [fault] = read(tmp_path, "OPENAI_API_KEY=sk-1\r\n".encode(encoding)).faults

    assert str(fault).startswith(f"{tmp_path}/.env is UTF-16 text: save it as UTF-8, ")
    assert "iconv -f UTF-16 -t UTF-8 .env" in str(fault)


def test_latin_1_is_a_fault_with_its_line(tmp_path: Path) -> None:
    [fault] = read(tmp_path, "A=1\n# für alle\n".encode("latin-1")).faults

    assert str(fault).startswith(
        f"{tmp_path}/.env, line 2: not UTF-8 text, perhaps Latin-1: save it as UTF-8"
    )


def test_a_dot_env_that_cannot_be_read_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)  # root may read everything

    [fault] = read(tmp_path, "A=1").faults

    assert str(fault) == f"cannot read {tmp_path}/.env: Permission denied"
