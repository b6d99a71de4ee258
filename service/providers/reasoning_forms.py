"""Where each server writes its model's reasoning: it gets earlier reasoning back in the same place.

Clients bring reasoning back as `reasoning_content`, because that is how they got it. Some servers look for
it in `reasoning` (vLLM, Groq), and some models in their content, behind `<think>` (MiniMax, Qwen).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.reasoning import FIELDS, reasoning_in
from service.providers.message_forms import each_message
from service.providers.think_tags import TAGS


class ReasoningForms:
    """The form of each server's reasoning in its latest answer that had some, in this process."""

    def __init__(self) -> None:
        self._forms: dict[tuple[str, str, str | None], str] = {}  # the name of a field, or a tag

    def saw(self, arm: Arm, form: str | None) -> None:
        """Remember the form of an answer; None: the answer had no reasoning."""
        if form is not None:
            self._forms[arm.arm_id, arm.model, arm.base_url] = form

    def sent(self, arm: Arm, body: Json) -> Json:
        """The request with earlier reasoning in the server's form; the same object if nothing changes."""
        form = self._forms.get((arm.arm_id, arm.model, arm.base_url), "reasoning_content")
        return body if form == "reasoning_content" else each_message(partial(_in_form, form), body)


def _in_form(form: str, message: Json) -> Json:
    text = reasoning_in(message) if message.get("role") == "assistant" else ""
    if not text or form == "reasoning":
        return message if not text or message.get(form) else {**message, form: text}
    rest = {name: value for name, value in message.items() if name not in FIELDS}
    return {
        **rest,
        "content": _with_thinking(f"{form}\n{text.strip()}\n{TAGS[form]}\n\n", message.get("content")),
    }


def _with_thinking(thinking: str, content: Any) -> Any:
    if isinstance(content, list):
        return [{"type": "text", "text": thinking}, *content]
    return thinking + (content if isinstance(content, str) else "")
