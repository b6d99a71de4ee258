"""The bodies that are sent, and the outcomes that the router learned before."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.jobs.replay.outcomes import read_outcomes
from service.domain.basics import Json

ARMS = ("small", "medium", "large")
N_SEEN = 50  # prompts that are asked again and again
CHAT = "/v1/chat/completions"


def arms(n: int) -> tuple[str, ...]:
    """The names of n models."""
    return (*ARMS, *(f"model-{number}" for number in range(len(ARMS), n)))[:n]


def settings(base_url: str, n_arms: int = len(ARMS)) -> Json:
    """The configuration of a router whose models all answer at once."""
    return {
        "check_keys": False,
        "price_lists": False,
        "models": [
            {
                "id": arm,
                "provider": "openai",
                "base_url": base_url,
                "model": arm,
                "price": {"input": 0.1 * 1.5**rank, "output": 0.4 * 1.5**rank},
                "context_window": 128_000,
            }
            for rank, arm in enumerate(arms(n_arms))
        ],
    }


@dataclass(slots=True)
class Texts:
    """Prompts of common words, about one token each."""

    rng: np.random.Generator
    words: list[str] = field(default_factory=lambda: common_words())

    def prompt(self, n_words: int) -> str:
        return " ".join(self.rng.choice(self.words, n_words))

    def prompts(self, n_words: int) -> Iterator[str]:
        while True:
            yield self.prompt(n_words)

    def taught(self, n: int, n_arms: int = len(ARMS)) -> Iterator[Json]:
        """Rated outcomes for `router import`."""
        for number in range(n):
            arm = int(self.rng.integers(n_arms))
            yield {
                "prompt": self.prompt(20),
                "model": arms(n_arms)[arm],
                "score": float(self.rng.random() < 0.5 + 0.3 * arm / n_arms),
                "cost_usd": 0.0001 * 1.5 ** (arm % 10),
                "latency_s": 0.2 + 0.01 * arm,
                "request_id": f"taught-{number}",
            }


def common_words() -> list[str]:
    """The most frequent words of the prompts of `router demo`."""
    counted = Counter(word for prompt in read_outcomes(DEMO_FILE).prompts for word in prompt.lower().split())
    return sorted(word for word, _ in counted.most_common(500) if word.isalpha())


def chat(prompt: str, model: str = "auto", *, stream: bool = False) -> bytes:
    """One request, in the OpenAI dialect."""
    body: Json = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps(body | ({"stream": True} if stream else {}), separators=(",", ":")).encode()


def feedback(request_id: str, score: float) -> bytes:
    return json.dumps({"request_id": request_id, "score": score}).encode()
