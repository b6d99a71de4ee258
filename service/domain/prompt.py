"""The prompt of a variant: what stands before every request to its model."""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass

import orjson

from service.domain.basics import Json

BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Demo:
    """A request and its answer, shown to the model as an earlier turn."""

    request: str
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Instructions and examples.

    Args:
        instructions: the first system text; empty: none.
        task: the only task whose requests it is for; None: requests of any task, and of none.
    """

    instructions: str = ""
    demos: tuple[Demo, ...] = ()
    task: str | None = None

    @property
    def name(self) -> str:
        """Short, and of this content alone: the same in every replica."""
        content = orjson.dumps(astuple(self))
        return f"{self.task or 'any'}@{hashlib.sha256(content).hexdigest()[:8]}"

    @property
    def n_tokens(self) -> int:
        """An estimate: UTF-8 bytes / 4."""
        texts = [self.instructions, *(text for demo in self.demos for text in (demo.request, demo.answer))]
        return -(-sum(len(text.encode(errors="replace")) for text in texts) // BYTES_PER_TOKEN)

    def is_for(self, task: str | None) -> bool:
        return self.task is None or self.task == task

    def before(self, body: Json) -> Json:
        """A Chat Completions request with the prompt: instructions, the client's system text, examples."""
        messages = body["messages"]
        n_system = next(
            (i for i, message in enumerate(messages) if message.get("role") not in ("system", "developer")),
            len(messages),
        )
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        return {
            **body,
            "messages": [*system, *messages[:n_system], *self._turns(), *messages[n_system:]],
        }

    def before_native(self, body: Json) -> Json:
        """The same for a request in Anthropic's form."""
        body = {**body, "messages": [*self._turns(), *body["messages"]]}
        if not self.instructions:
            return body
        own = body.get("system") or []
        blocks = [{"type": "text", "text": own}] if isinstance(own, str) else own
        return {**body, "system": [{"type": "text", "text": self.instructions}, *blocks]}

    def _turns(self) -> list[Json]:
        return [
            {"role": role, "content": text}
            for demo in self.demos
            for role, text in (("user", demo.request), ("assistant", demo.answer))
        ]

    def __str__(self) -> str:
        return self.name
