"""Which models are of one family: a judge is kind to its own."""

from __future__ import annotations

import re

from service.domain.arm import Arm
from service.domain.model_names import canonical

# The makers of models, by the beginnings of the models' names.
_MAKERS = {
    "openai": "gpt chatgpt o codex davinci",
    "anthropic": "claude opus sonnet haiku",
    "google": "gemini gemma palm learnlm",
    "meta": "llama codellama",
    "mistral": "mistral mixtral ministral magistral devstral codestral pixtral voxtral open-mistral",
    "alibaba": "qwen qwq qvq",
    "cohere": "command c4ai aya",
    "microsoft": "phi wizardlm mai",
    "moonshot": "kimi moonshot",
    "zhipu": "glm chatglm",
    "amazon": "nova titan",
    "minimax": "minimax abab",
    "perplexity": "sonar",
    "xai": "grok",
}
_MAKER = {name: maker for maker, names in _MAKERS.items() for name in names.split()}
_WORD = re.compile(r"[a-z]+")


def family_of(arm: Arm) -> str:
    """The family of an arm's model: its maker, or the first word of its name if nobody knows that."""
    name = canonical(arm.model)
    word = _WORD.match(name)
    first = name if word is None else word[0]
    return _MAKER.get(first, first)
