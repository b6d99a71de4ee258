"""The settings of the log."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from service.log_file import LogFile
from service.settings.models import FrozenSettings

# What other programs call the severities.
LEVELS_ELSEWHERE = {"warn": "warning", "fatal": "critical", "err": "error", "trace": "debug"}


class LogSettings(FrozenSettings):
    """What is logged, how and where."""

    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="lowest severity that is logged"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, otherwise JSON lines"
    )
    log_texts: bool = Field(
        False, description="with LOG_LEVEL=debug: log the text of requests and answers, secrets masked"
    )
    log_file: str | None = Field(
        None,
        min_length=1,
        description="file that the log is written to as well; auto: the platform's usual place; absent: none",
    )
    log_file_max_bytes: int = Field(
        10_000_000, ge=1_000, le=10_000_000_000, description="size at which the log file is rotated, bytes"
    )
    log_file_backups: int = Field(5, ge=1, le=1_000, description="number of older log files to keep")

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return LEVELS_ELSEWHERE.get(value.lower(), value.lower())

    @property
    def kept_log(self) -> LogFile | None:
        """Where the log is kept beside standard error; None: nowhere."""
        if self.log_file is None:
            return None
        return LogFile(self.log_file, self.log_file_max_bytes, self.log_file_backups)
