"""The tokenizers that LiteLLM ships, read as files, because importing the library takes seconds."""

from __future__ import annotations

import asyncio
import importlib.util
from base64 import b64decode
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock

import structlog

log = structlog.get_logger(__name__)

Counter = Callable[[str], int]

CHUNK_CHARS = 50_000  # texts are counted in parts: on long runs of one kind of character time is not linear

# tiktoken's names of these files: the SHA-1 of the address where they were published.
RANKS = {
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
}
# Patterns that split a text before the lookup. Source: tiktoken_ext.openai_public, tiktoken 0.14.
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PATTERNS = {
    "cl100k_base": (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
        r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
    ),
    "o200k_base": (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
CLAUDE = "anthropic_tokenizer.json"  # the last one that Anthropic published; newer models count some more


class ShippedTokenizers:
    """A `Tokenizers`. Each tokenizer is loaded at its first use and kept.

    Args:
        timeout_s: longest wait for a count.
    """

    def __init__(self, folder: Path | None = None, *, timeout_s: float = 1.0) -> None:
        self._folder = folder
        self._timeout_s = timeout_s
        self._loading = Lock()
        self._counters: dict[str, Counter | None] = {}

    async def count(self, tokenizer: str, texts: Sequence[str]) -> int | None:
        gives_up = Event()
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.to_thread(self._count, tokenizer, texts, gives_up)
        except TimeoutError:
            log.info("tokens_not_counted", tokenizer=tokenizer, error="no count in time")
            return None
        finally:
            gives_up.set()  # nobody waits for the thread any more

    def _count(self, tokenizer: str, texts: Sequence[str], gives_up: Event) -> int | None:
        with self._loading:
            if tokenizer not in self._counters:
                self._counters[tokenizer] = self._loaded(tokenizer)
        counter = self._counters[tokenizer]
        if counter is None:
            return None
        return sum(
            counter(text[start : start + CHUNK_CHARS])
            for text in texts
            for start in range(0, len(text), CHUNK_CHARS)
            if not gives_up.is_set()
        )

    def _loaded(self, tokenizer: str) -> Counter | None:
        folder = self._folder or shipped_folder()
        try:
            return None if folder is None else load(tokenizer, folder)
        except (ImportError, OSError, ValueError) as error:
            log.warning("tokenizer_not_loaded", tokenizer=tokenizer, error=str(error))
            return None


def shipped_folder() -> Path | None:
    """The folder of LiteLLM's tokenizers; None: LiteLLM is not installed."""
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "litellm_core_utils" / "tokenizers"


def load(tokenizer: str, folder: Path) -> Counter:
    """A function that counts the tokens of a text.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is not this tokenizer.
    """
    if tokenizer == "claude":
        from tokenizers import Tokenizer

        data = (folder / CLAUDE).read_text("utf-8")
        try:
            claude = Tokenizer.from_str(data)
        except Exception as error:  # the library raises nothing more precise
            raise ValueError(f"{CLAUDE}: {error}") from error
        return lambda text: len(claude.encode(text, add_special_tokens=False))
    from tiktoken import Encoding

    lines = (folder / RANKS[tokenizer]).read_bytes().splitlines()
    ranks = {b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    encoding = Encoding(tokenizer, pat_str=PATTERNS[tokenizer], mergeable_ranks=ranks, special_tokens={})
    return lambda text: len(encoding.encode_ordinary(text))
