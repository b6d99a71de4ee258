"""Prompts as JSON, kept while a calibration is not done, since the log that they came from goes on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from service.calibration.prompts import CalibrationPrompt
from service.domain.basics import Json
from service.errors import StartupError


def prompt_as_json(prompt: CalibrationPrompt) -> Json:
    return {
        "key": prompt.key,
        "body": prompt.body,
        "text": prompt.text,
        "expected": prompt.expected,
        "task": prompt.task,
        "tests": prompt.tests,
        "weight": prompt.weight,
    }


def prompt_from_json(kept: Json) -> CalibrationPrompt:
    return CalibrationPrompt(**kept)


@dataclass(frozen=True, slots=True)
class KeptPrompts:
    """The file with the prompts of a calibration that is not done.

    Args:
        wanted: what the prompts were chosen by; a calibration with another wish does not continue this one.
    """

    path: Path
    wanted: Json

    def read(self) -> list[CalibrationPrompt] | None:
        """The kept prompts; None: there are none of this wish. Raises StartupError: the file is broken."""
        try:
            kept = orjson.loads(self.path.read_bytes())
            if kept["wanted"] != self.wanted:
                return None
            return [prompt_from_json(prompt) for prompt in kept["prompts"]]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StartupError(f"{self.path}: cannot be read: {error.strerror}") from error
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise StartupError(f"{self.path}: has no prompts of a calibration; delete it") from error

    def keep(self, prompts: Sequence[CalibrationPrompt]) -> None:
        """Write the prompts, for this user alone. Raises StartupError."""
        content = orjson.dumps({"wanted": self.wanted, "prompts": [prompt_as_json(p) for p in prompts]})
        unfinished = self.path.with_name(f"{self.path.name}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(content)
                os.fsync(file.fileno())
            unfinished.replace(self.path)
        except OSError as error:
            raise StartupError(f"{self.path}: cannot be written: {error.strerror}") from error

    def forget(self) -> None:
        """Delete the file: the calibration is done."""
        self.path.unlink(missing_ok=True)
