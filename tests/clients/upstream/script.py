"""What the upstream answers: a function of the request, whichever vendor's form it has.

The newest text of the user may contain instructions:

- `call NAME {json}`: call this tool; of several, one after each tool result
- `think first`: think before the answer, if the request enables thinking
- `write N words`
- `stop short`: end as if the limit of tokens were reached
- `break off`: close the connection in the middle of a stream
- `fail N times with STATUS`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from service.domain.basics import Json
from tests.clients.upstream.samples import INTEGER, STRING, sample, schema_in

HELLO = "Hello there."
INPUT_TOKENS, OUTPUT_TOKENS = 11, 7
ANY_TOOL = "*"
FAILURE = re.compile(r"fail (\d+) times? with (\d+)")
CALL = re.compile(r"call ([\w.-]+) (?=\\?\{)")
LONG = re.compile(r"write (\d+) words")
INSTRUCTION = re.compile(f"{FAILURE.pattern}|{CALL.pattern}|{LONG.pattern}|think first|stop short|break off")
DSPY_FIELD = re.compile(r"\[\[ ## (\w+) ## \]\]")
DSPY_KEY = re.compile(r"`(\w+)`( \(must be formatted as a valid Python int)?")


@dataclass(frozen=True)
class Turn:
    """One message; `role` is system, user, assistant or tool."""

    role: str
    text: str


@dataclass(frozen=True)
class Asked:
    """One request, without its vendor's form."""

    turns: list[Turn]
    tools: dict[str, Json]  # name -> JSON schema of the arguments
    forced: str | None = None  # the tool that must be called; ANY_TOOL: one of them
    schema: Json | None = None  # of the answer
    json_mode: bool = False  # the answer must be JSON, its schema stands in the prompt

    @cached_property
    def prompt(self) -> str:
        """The text that is answered now: the newest with instructions, unless it has been answered."""
        return self.turns[self._index].text if self.turns else ""

    @property
    def news(self) -> str:
        """All that the user says since the model's last answer, the surroundings that agents add included."""
        answers = [i for i, turn in enumerate(self.turns) if turn.role == "assistant"]
        newest = self.turns[answers[-1] + 1 if answers else 0 :]
        return "\n".join(turn.text for turn in newest if turn.role == "user")

    @property
    def results(self) -> list[str]:
        """The tools' results since that text."""
        return [turn.text for turn in self.turns[self._index + 1 :] if turn.role == "tool"]

    @cached_property
    def _index(self) -> int:
        asked = [i for i, turn in enumerate(self.turns) if turn.role == "user" and turn.text.strip()]
        instructed = [i for i in asked if INSTRUCTION.search(self.turns[i].text)]
        if not asked or not instructed or self._answered(instructed[-1], asked[-1]):
            return asked[-1] if asked else 0
        return instructed[-1]

    def _answered(self, first: int, last: int) -> bool:
        return any(turn.role == "assistant" and turn.text for turn in self.turns[first:last])


@dataclass(frozen=True)
class ToolCall:
    name: str
    arguments: Json


@dataclass(frozen=True)
class Reply:
    """One answer, without its vendor's form."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    thinking: str | None = None
    cut: bool = False
    breaks_off: bool = False

    @property
    def pieces(self) -> list[str]:
        """The text as a stream sends it."""
        return re.findall(r"\S+\s*|\s+", self.text)


def reply(asked: Asked) -> Reply:
    prompt = asked.prompt
    calls = _calls(asked)
    return Reply(
        text="" if calls else _text(asked),
        calls=calls,
        thinking="Let me think." if "think first" in prompt else None,
        cut="stop short" in prompt,
        breaks_off="break off" in prompt,
    )


def _calls(asked: Asked) -> list[ToolCall]:
    if not asked.tools:
        return []
    called = list(instructed_calls(asked.prompt))
    if len(asked.results) < len(called):
        return [called[len(asked.results)]]
    if asked.forced is None or (asked.results and asked.forced == ANY_TOOL and called):
        return []
    name = asked.forced if asked.forced in asked.tools else list(asked.tools)[-1]
    return [ToolCall(name, sample(asked.tools[name]))]


def instructed_calls(prompt: str) -> Iterator[ToolCall]:
    for found in CALL.finditer(prompt):
        for text in (prompt[found.end() :], prompt[found.end() :].replace('\\"', '"')):
            try:
                arguments: Any = json.JSONDecoder().raw_decode(text)[0]
            except json.JSONDecodeError:
                continue
            yield ToolCall(found[1], arguments)
            break


def _text(asked: Asked) -> str:
    everything = "\n".join(turn.text for turn in asked.turns if turn.role in ("system", "user"))
    if asked.schema is not None:
        return json.dumps(sample(asked.schema))
    if fields := _dspy_fields(asked.prompt):
        return fields
    if asked.json_mode:
        return json.dumps(sample(schema_in(everything)))
    if asked.results:
        return f"The tool says: {asked.results[-1]}"
    if long := LONG.search(asked.prompt):
        return " ".join(f"word{i}" for i in range(int(long[1])))
    return HELLO


def _dspy_fields(prompt: str) -> str | None:
    """DSPy says at the end of a prompt which fields it wants, in its own markup or as JSON."""
    wanted = prompt.rpartition("Respond with ")[2]
    if wanted.startswith("a JSON object in the following order of fields"):
        fields = {name: INTEGER if integer else STRING for name, integer in DSPY_KEY.findall(wanted)}
        return json.dumps(fields)
    fields = dict.fromkeys(DSPY_FIELD.findall(wanted), HELLO) if wanted != prompt else {}
    return "\n\n".join(
        f"[[ ## {name} ## ]]\n{'' if name == 'completed' else text}" for name, text in fields.items()
    )
