"""The contents of a Gemini request: what the user, the model and its functions said."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from service.dialects.chat.requests import MAX_MESSAGES, MAX_PARTS
from service.dialects.gemini.fields import Many, Message
from service.dialects.json_body import items
from service.domain.basics import Json

DATA = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
)


class Blob(Message):
    mime_type: str
    data: str


class FileData(Message):
    file_uri: str
    mime_type: str = ""


class FunctionCall(Message):
    name: Annotated[str, Field(min_length=1)]
    id: str | None = None
    args: Json | None = None


class ResponsePart(Message):
    inline_data: Blob | None = None


class FunctionResponse(Message):
    name: Annotated[str, Field(min_length=1)]
    id: str | None = None
    response: Json | None = None
    parts: Many[Annotated[list[ResponsePart], items(MAX_PARTS)]] | None = None


class ExecutableCode(Message):
    code: str = ""
    language: str = ""


class CodeExecutionResult(Message):
    output: str = ""
    outcome: str = ""


class Part(Message):
    """One part, which has one of the kinds of data."""

    text: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    executable_code: ExecutableCode | None = None
    code_execution_result: CodeExecutionResult | None = None
    thought: bool = False
    thought_signature: str | None = None

    @model_validator(mode="after")
    def _has_data(self) -> Part:
        data = (self.text, self.inline_data, self.file_data, self.function_call, self.function_response)
        code = (self.executable_code, self.code_execution_result)
        n_given = sum(value is not None for value in (*data, *code))
        if n_given > 1 or (n_given == 0 and not self.thought_signature):
            raise ValueError(f"must have exactly one of {', '.join(DATA)}")
        return self


class Content(Message):
    """One turn; without a role it is the user's."""

    role: Literal["user", "model", "function", "tool"] = "user"
    parts: Many[Annotated[list[Part], items(MAX_PARTS, least=1)]]


class Instruction(Message):
    """The system instruction; Google ignores its role."""

    role: Any = None
    parts: Many[Annotated[list[Part], items(MAX_PARTS)]]


Contents = Many[Annotated[list[Content], items(MAX_MESSAGES, least=1)]]
