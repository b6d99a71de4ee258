"""The variables of the process on top of those in `.env`, without what other programs put around values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv.main import resolve_variables
from dotenv.parser import Binding, parse_stream

from service.settings.faults import Fault
from service.settings.text_files import UnreadableText, text_of

PROCESS = "environment"


@dataclass(frozen=True, slots=True)
class EnvFile:
    """The variables of a `.env` file, the line of each, and what cannot be read."""

    path: Path
    values: Mapping[str, str]
    lines: Mapping[str, int]
    faults: tuple[Fault, ...] = ()


class Environment(Mapping[str, str]):
    """Variables by name; empty ones are absent.

    Args:
        process: the variables of the process, which come first.
        env_file: those of `.env`; None: there is no such file.
    """

    def __init__(self, process: Mapping[str, str], env_file: EnvFile | None = None) -> None:
        in_file = {} if env_file is None else env_file.values
        merged = {**in_file, **{name: cleaned(value) for name, value in process.items()}}
        self._values = {name: value for name, value in merged.items() if value}
        self._process = frozenset(process)
        self.env_file = env_file

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def faults(self) -> tuple[Fault, ...]:
        return () if self.env_file is None else self.env_file.faults

    def is_in_file(self, name: str) -> bool:
        """Whether the variable was read from `.env`."""
        return self.env_file is not None and name in self.env_file.lines and name not in self._process

    def where(self, name: str) -> str:
        """Where the variable was read: `environment`, or file and line."""
        if self.env_file is None or not self.is_in_file(name):
            return PROCESS
        return f"{self.env_file.path}, line {self.env_file.lines[name]}"


def cleaned(value: str) -> str:
    """The value without the white space around it, and the quotes that `docker run --env-file` leaves."""
    value = value.strip()
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].strip()
    return value


def read_env_file(path: Path) -> EnvFile | None:
    """The variables of a `.env` file; None if there is none. A folder of that name is no such file."""
    if not (path.is_file() or path.is_fifo()):
        return None
    try:
        text = text_of(path)
    except UnreadableText as error:
        return EnvFile(path, {}, {}, (Fault(str(error)),))
    bindings = list(parse_stream(StringIO(text)))
    values = resolve_variables(((b.key, b.value) for b in bindings if b.key), override=True)
    return EnvFile(
        path=path,
        values={name: value.strip() for name, value in values.items() if value is not None},
        lines={b.key: _line(b) for b in bindings if b.key},
        faults=tuple(Fault("must be NAME=value", f"{path}, line {_line(b)}") for b in bindings if b.error),
    )


def _line(binding: Binding) -> int:
    """The line of a statement, which begins with the empty lines before it."""
    statement = binding.original.string
    n_blank = statement[: len(statement) - len(statement.lstrip())].count("\n")
    return binding.original.line + n_blank
