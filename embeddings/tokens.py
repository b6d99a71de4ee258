"""The tokens of MiniLM's vocabulary: a whole text's, its first ones or its last ones."""

from pathlib import Path

from tokenizers import Tokenizer

from embeddings.encoder import CHARACTERS_PER_TOKEN, cut, end

LAST, FIRST = 128, 256
LAST_CHARACTERS, FIRST_CHARACTERS = LAST * CHARACTERS_PER_TOKEN, FIRST * CHARACTERS_PER_TOKEN
# The end of a text that nearly always has 128 tokens; the most tokens of half a word (longer ones: 1).
SHORT_CHARACTERS, LONGEST_WORD = LAST * 8, 100


class Tokens:
    """Splits texts into the ids of tokens; the same two tokens begin and end every text."""

    def __init__(self, path: Path) -> None:
        self._tokenizer = Tokenizer.from_file(str(path))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def last(self, text: str) -> list[int]:
        """The first token and the last 127: what a text asks for is mostly at its end."""
        ids = self._ids(end(text, SHORT_CHARACTERS))
        if len(text) > SHORT_CHARACTERS and len(ids) < LAST + LONGEST_WORD:
            ids = self._ids(end(text, LAST_CHARACTERS))
        return ids if len(ids) <= LAST else [ids[0], *ids[1 - LAST :]]

    def first(self, text: str) -> list[int]:
        """The first 255 tokens and the last one."""
        ids = self._ids(cut(text, FIRST_CHARACTERS))
        return ids if len(ids) <= FIRST else [*ids[: FIRST - 1], ids[-1]]

    def count(self, text: str) -> int:
        """The tokens of a text, those beyond the first 256 included."""
        return len(self._ids(cut(text, FIRST_CHARACTERS)))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids
