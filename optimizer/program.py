"""The program that DSPy optimises: one request in, its answer out, in exactly the form that a variant has."""

from __future__ import annotations

from typing import Any

import dspy

from optimizer.rows import Row
from service.domain.basics import Json
from service.domain.prompt import Demo, Prompt

NO_INSTRUCTIONS = "Answer the request."  # DSPy needs some; a prompt with these has none
OUTPUT = "answer"


class PlainAdapter(dspy.Adapter):  # type: ignore[misc]  # dspy has no types
    """Sends what a variant sends, and takes the whole answer as the output."""

    def format(self, signature: Any, demos: list[Any], inputs: Json) -> list[Json]:
        history, request = inputs["history"].messages, {"role": "user", "content": inputs["request"]}
        body = prompt_of(signature.instructions, demos).before({"messages": [*history, request]})
        return _with_one_system_message(body["messages"])

    def parse(self, signature: Any, completion: str) -> Json:
        return {OUTPUT: completion}


class Answering(dspy.Module):  # type: ignore[misc]
    """Answers requests of one task."""

    def __init__(self, prompt: Prompt) -> None:
        super().__init__()
        signature = dspy.Signature(
            {
                "history": (dspy.History, dspy.InputField(desc="messages before the request")),
                "request": (str, dspy.InputField(desc="what the user asks")),
                OUTPUT: (str, dspy.OutputField(desc="the answer to the user")),
            },
            prompt.instructions or NO_INSTRUCTIONS,
        )
        self.answer = dspy.Predict(signature)
        self.answer.demos = [
            dspy.Example(history=dspy.History(messages=[]), request=demo.request, answer=demo.answer)
            for demo in prompt.demos
        ]

    def forward(self, history: Any, request: str) -> Any:
        with dspy.context(adapter=PlainAdapter()):
            answered = self.answer(history=history, request=request)
        return dspy.Prediction(answer=answered.answer, prompt=self.prompt)

    @property
    def prompt(self) -> Prompt:
        return prompt_of(self.answer.signature.instructions, self.answer.demos)


def prompt_of(instructions: str, demos: list[Any]) -> Prompt:
    """The prompt of a candidate; examples without an answer are none."""
    shown = [Demo(str(demo["request"]), str(demo[OUTPUT])) for demo in demos if demo.get(OUTPUT)]
    text = instructions.strip()
    return Prompt("" if text == NO_INSTRUCTIONS else text, tuple(shown))


def example_of(row: Row) -> Any:
    """The row as DSPy reads it; its key leads back to the row."""
    answer = {} if row.reference is None else {OUTPUT: row.reference}
    example = dspy.Example(
        history=dspy.History(messages=list(row.history)), request=row.request, key=row.prompt.key, **answer
    )
    return example.with_inputs("history", "request")


def _with_one_system_message(messages: list[Json]) -> list[Json]:
    """The same messages with the system texts at the start as one: DSPy knows one."""
    texts = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    return [*([{"role": "system", "content": "\n\n".join(texts)}] if texts else []), *others]
