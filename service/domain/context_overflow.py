"""A prompt that is longer than a model's window, in the words by which each vendor's clients know it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

CODE = "context_length_exceeded"

_WORD = re.compile(r"[\w.,-]+")
_NUMBER = re.compile(r"\d[\d,_]*")
_WINDOW = re.compile(r"maximum (?:context|prompt) length is (\d[\d,_]*)", re.IGNORECASE)
_USED = re.compile(r"(?:resulted in|requested) (?:about )?(\d[\d,_]*) tokens", re.IGNORECASE)
_SUM = re.compile(r"exceed context limit: (\d+) \+ (\d+) > (\d+)", re.IGNORECASE)
_ANTHROPICS = re.compile(r"prompt is too long: \d+ tokens > \d+ maximum")
_OPENAIS = re.compile(r"This model's maximum context length is \d+ tokens\. However, ")
_LEAST = 256  # smaller numbers in a refusal are no lengths of prompts or windows


@dataclass(frozen=True, slots=True)
class ContextOverflow:
    """How long the prompt is, and how long it may be.

    Args:
        n_tokens: of the prompt, and of the answer if only both together are too long; None: not known.
        window: of the model; None: not known.
        detail: what else is known, in words.
    """

    n_tokens: int | None = None
    window: int | None = None
    detail: str = ""

    @classmethod
    def read(cls, sentence: str) -> ContextOverflow:
        """What a refusal says, in the words of any vendor."""
        if found := _SUM.search(sentence):
            n_prompt, n_answer, window = map(int, found.groups())
            return cls(n_prompt + n_answer, window, sentence)
        numbers = sorted({n for word in _numbers(sentence) if (n := _number(word)) >= _LEAST})
        if found := _WINDOW.search(sentence):
            window, used = _number(found[1]), _USED.search(sentence)
            more = [_number(used[1])] if used else [n for n in numbers if n > window]
            return cls(max(more, default=None), window, sentence)
        if len(numbers) > 1:  # what was sent is more than what is allowed
            return cls(numbers[-1], numbers[-2], sentence)
        return cls(None, numbers[0] if numbers else None, sentence)

    def known_to_be(self, *, window: int | None, n_tokens: int) -> ContextOverflow:
        """The same with what the refusal left out: the model's window, and the estimated tokens."""
        window = self.window or window
        n_known = self.n_tokens or n_tokens
        return replace(self, window=window, n_tokens=n_known if window is None else max(n_known, window + 1))

    @property
    def in_openais_words(self) -> str:
        """OpenAI's sentence, which stays if it is already one, then what else is known."""
        if _OPENAIS.match(self.detail):
            return self.detail
        detail = f" ({self.detail})" if self.detail else ""
        if self.window is None:
            return f"Your messages exceed the model's maximum context length.{detail}"
        used = "" if self.n_tokens is None else f" However, your messages resulted in {self.n_tokens} tokens."
        asked = "Please reduce the length of the messages."
        return f"This model's maximum context length is {self.window} tokens.{used} {asked}{detail}"

    @property
    def in_anthropics_words(self) -> str:
        """Anthropic's sentence and nothing else: clients compare the whole."""
        if found := _ANTHROPICS.search(self.detail):
            return found[0]
        if _SUM.search(self.detail):
            return self.detail  # at which clients ask for a shorter answer
        if self.window is None:
            return f"prompt is too long: {self.detail}"
        n_tokens = self.window + 1 if self.n_tokens is None else self.n_tokens
        return f"prompt is too long: {n_tokens} tokens > {self.window} maximum"

    @property
    def in_googles_words(self) -> str:
        if self.window is None or self.n_tokens is None:
            return (
                f"The input token count exceeds the maximum number of tokens allowed. {self.detail}".strip()
            )
        return (
            f"The input token count ({self.n_tokens}) exceeds the maximum number of tokens allowed "
            f"({self.window})."
        )


def _numbers(sentence: str) -> list[str]:
    """The whole numbers, without those that are parts of names and dates."""
    words = (word.strip(".,") for word in _WORD.findall(sentence))
    return [word for word in words if _NUMBER.fullmatch(word)]


def _number(digits: str) -> int:
    return int("".join(filter(str.isdigit, digits)))
