"""The settings of a variant's prompt, as an artifact of `router optimize` has them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.domain.prompt import Demo, Prompt


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DemoSettings(_Closed):
    """An example: a request and the answer to it."""

    request: str = Field(min_length=1, max_length=100_000)
    answer: str = Field(min_length=1, max_length=100_000)


class PromptSettings(_Closed):
    """What is put before the requests of a variant."""

    instructions: str = Field("", max_length=100_000, description="system text before the client's own")
    demos: tuple[DemoSettings, ...] = Field((), max_length=100, description="examples, as earlier turns")
    task: str | None = Field(
        None, pattern=r"^[!-~]{1,64}$", description="task of its requests; absent: any request"
    )

    @model_validator(mode="after")
    def _says_something(self) -> PromptSettings:
        if not self.instructions.strip() and not self.demos:
            raise ValueError("must have instructions or demos")
        return self

    def to_prompt(self, *, any_task: bool) -> Prompt:
        demos = tuple(Demo(demo.request, demo.answer) for demo in self.demos)
        return Prompt(self.instructions.strip(), demos, None if any_task else self.task)
