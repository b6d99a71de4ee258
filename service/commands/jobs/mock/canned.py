"""Canned answers: which request gets which answer, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.errors import StartupError

Name = Annotated[str, Field(min_length=1, max_length=128)]


class ToolCall(BaseModel):
    """A call of a function of the request."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    arguments: dict[str, object] = Field(default_factory=dict)


class CannedUsage(BaseModel):
    """The tokens that an answer states; null: a quarter of the characters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input_tokens: int | None = Field(None, ge=0)
    output_tokens: int | None = Field(None, ge=0)


class CannedAnswer(BaseModel):
    """One answer, and the requests that get it: those that meet every condition that is set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: str | None = Field(
        None, description="what the last user message must match, with * and ?; upper case is lower case"
    )
    model: Name | None = Field(None, description="model that the request must name")
    times: int | None = Field(None, ge=1, description="how many requests get it; null: any number")
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: CannedUsage = CannedUsage()
    delay_s: float = Field(0.0, ge=0, le=600, description="wait before the answer, seconds")
    status: int = Field(200, ge=200, le=599, description="above 299: an error with the text as its message")
    retry_after_s: float | None = Field(None, ge=0)
    breaks_off: bool = Field(False, description="the connection is closed in the middle of the answer")

    def fits(self, model: str, question: str) -> bool:
        """Whether a request to this model with this last user message gets the answer."""
        if self.model is not None and self.model != model:
            return False
        return self.when is None or fnmatchcase(question.casefold(), self.when.casefold())


class AnswersFile(BaseModel):
    """What a file of canned answers holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[Name, ...] = ("mock",)
    answers: tuple[CannedAnswer, ...] = ()


class CannedAnswers:
    """Answers in order: the first that fits and is not used up."""

    def __init__(self, answers: Iterable[CannedAnswer]) -> None:
        self._answers = [(answer, answer.times) for answer in answers]

    def next(self, model: str, question: str) -> CannedAnswer | None:
        """The answer to a request, which counts as given; None: none fits."""
        for i, (answer, left) in enumerate(self._answers):
            if left != 0 and answer.fits(model, question):
                self._answers[i] = (answer, None if left is None else left - 1)
                return answer
        return None


def read_answers(file: Path) -> AnswersFile:
    """The answers of a YAML or JSON file. Raises StartupError, which names the faulty entry."""
    try:
        return AnswersFile.model_validate(yaml.safe_load(file.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StartupError(f"{file}: cannot be read: {error}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        place = ".".join(map(str, fault["loc"])) or "the file"
        raise StartupError(f"{file}: {place}: {fault['msg']}") from error
