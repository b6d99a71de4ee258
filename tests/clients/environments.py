"""Where the clients' packages are installed, and how a program is started there."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.e2e.running import REPOSITORY

FOLDER = REPOSITORY / "tests" / "clients"
NODE = FOLDER / "node"
APART = FOLDER / "apart"
VENV = REPOSITORY / ".venv-clients"
VENVS_APART = REPOSITORY / ".venv-apart"  # outside of tests/, where tests of packages would be found
NO_NODE = "there is no Node on this machine"


class Program(Protocol):
    """A client's program, and the packages that it needs."""

    def missing(self) -> str | None:
        """What must be installed first; None: nothing."""
        ...

    def version(self, package: str) -> str:
        """The version of a package in the lock."""
        ...

    @property
    def command(self) -> list[str]: ...


@dataclass(frozen=True)
class PythonProgram:
    """A module of `programs`, run by an interpreter that has the package."""

    module: str
    argument: str = ""
    interpreter: Path = VENV / "bin" / "python"
    lock: Path = REPOSITORY / "requirements-clients.txt"

    @classmethod
    def apart(cls, module: str, folder: str, argument: str = "") -> PythonProgram:
        """A module whose package does not fit beside the others, and has an environment of its own."""
        home = APART / folder
        return cls(module, argument, VENVS_APART / folder / "bin" / "python", home / "requirements.txt")

    def missing(self) -> str | None:
        return None if self.interpreter.exists() else "`make clients` or `make check-clients-all` installs it"

    def version(self, package: str) -> str:
        return locked_for_python(self.lock, package)

    @property
    def command(self) -> list[str]:
        return [str(self.interpreter), "-m", f"tests.clients.programs.{self.module}", self.argument]


@dataclass(frozen=True)
class NodeProgram:
    """A script beside the packages for Node."""

    script: str
    argument: str = ""
    home: Path = NODE
    marker: Path = NODE / "node_modules" / "installed"

    @classmethod
    def apart(cls, script: str, folder: str) -> NodeProgram:
        """A script whose package is too heavy for every run, in a folder of its own."""
        home = APART / folder
        return cls(script, home=home, marker=home / "installed")

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return NO_NODE
        if self.marker.exists():
            return None
        return "`make clients` or `make check-clients-all` installs the packages for Node"

    def version(self, package: str) -> str:
        return locked_for_node(self.home / "package-lock.json", package)

    @property
    def command(self) -> list[str]:
        return ["node", str(self.home / self.script), self.argument]


@dataclass(frozen=True)
class CommandProgram:
    """A module of `programs` that runs a package's command, installed in a folder of its own."""

    module: str
    folder: str
    argument: str = ""

    @property
    def home(self) -> Path:
        return APART / self.folder

    def missing(self) -> str | None:
        there = (self.home / "installed").exists()
        return None if there else f"`make tests/clients/apart/{self.folder}/installed` installs it"

    def version(self, package: str) -> str:
        lock = self.home / "package-lock.json"
        if lock.exists():
            return locked_for_node(lock, package)
        return locked_for_python(self.home / "requirements.txt", package)

    @property
    def command(self) -> list[str]:
        node = self.home / "node_modules" / ".bin"
        bin_folder = node if (self.home / "package-lock.json").exists() else VENVS_APART / self.folder / "bin"
        return [sys.executable, "-m", f"tests.clients.programs.{self.module}", str(bin_folder), self.argument]


def locked_for_python(lock: Path, package: str) -> str:
    [version] = re.findall(rf"^{re.escape(package)}==(\S+)", lock.read_text("utf-8"), re.M)
    return str(version)


def locked_for_node(lock: Path, package: str) -> str:
    return str(json.loads(lock.read_text("utf-8"))["packages"][f"node_modules/{package}"]["version"])
