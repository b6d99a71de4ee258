"""Whether two questions differ only in wording that cannot change their answer.

Conservative: after courtesies, frames, contractions and spellings are put into one form, both must have the
same words, numbers and signs in the same order. A negation, a name, a number, a unit, an antonym or a swapped
pair is a different word or a different order, so it needs no list.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

# Put before or after a question, these change nothing. Alternatives are whole words, the longest first.
_COURTESY_BEFORE = re.compile(
    r"(?:(?:hi there|hi|hello|hey|please|pls|kindly|quick question"
    r"|hallo|guten tag|bitte|bonjour|salut|hola|por favor|ciao|per favore|olá)(?![^\W_])|请问|请|麻烦)"
    r"\s?[,!.:]?\s?",
    re.IGNORECASE,
)
_COURTESY_AFTER = re.compile(
    r"\s?[,.]?\s?(?:please|pls|thanks a lot|thanks in advance|thanks|thank you|thx"
    r"|bitte|danke|vielen dank|danke schön|s'il te plaît|s'il vous plaît|merci|por favor|gracias"
    r"|per favore|grazie|obrigado|obrigada|谢谢)",
    re.IGNORECASE,
)
_LONGEST_COURTESY = 25  # characters
# A text that begins with one of these asks, also without a question mark.
_ASKING = frozenset(
    {
        "what", "who", "whom", "whose", "which", "when", "where", "why", "how", "is", "are", "was", "were",
        "do", "does", "did", "can", "could", "should", "would", "will", "wie", "wer", "wo", "wann",
        "warum", "wieso", "welche", "welcher", "welches", "wieviel", "comment", "pourquoi", "quel",
        "quelle", "qui", "où", "quand", "combien", "cómo", "qué", "quién", "dónde", "cuándo", "cuál",
        "cuánto", "cuántos", "come", "cosa", "chi", "dove", "quando", "perché", "quale", "quanto", "como",
        "quem", "onde", "qual", "wat", "waar", "wanneer", "waarom", "hoe",
    }
)  # fmt: skip
# What may follow "can you" without a question of ability: "can you swim" is none.
_VERBS = (
    r"(?:tell me|explain|describe|show me|give me|list|summarize|translate|define|compare|calculate|compute"
    r"|convert|write|suggest|recommend|help me)"
)
_REQUEST = re.compile(rf"(?:can|could|would|will) you (?:please |kindly )?(?={_VERBS}(?![^\W_]))")
_REQUESTS_ELSEWHERE = (
    (re.compile(r"(?:kannst|könntest) du mir (?:bitte )?(?=sagen|erklären|zeigen)"), ""),
    (re.compile(r"(?:können|könnten) sie mir (?:bitte )?(?=sagen|erklären|zeigen)"), ""),
    (re.compile(r"(?:peux-tu|pouvez-vous|pourrais-tu|pourriez-vous) (?=me dire|m'expliquer|me montrer)"), ""),
    (re.compile(r"(?:puedes|podrías|puede|podría) (?=decirme|explicarme|mostrarme)"), ""),
)
_FRAMES = (
    (
        re.compile(
            r"(?:(?:show|tell|explain to) me how to|explain how to"
            r"|(?:i want|i need|i would like) to know how to|do you know how to"
            r"|how (?:do|can) i|how (?:does|can) one"
            r"|what is (?:the|a) way to)(?= )"
        ),
        "how to",
    ),
    (re.compile(r"(?:what exactly is|tell me what is|do you know what is)(?= )"), "what is"),
    (re.compile(r"wie (?:kann|könnte) (?:ich|man)(?= )"), "wie kann man"),
    (re.compile(r"comment (?:puis-je|peut-on|est-ce que je peux)(?= )"), "comment peut-on"),
    (re.compile(r"cómo (?:puedo|se puede|podría)(?= )"), "cómo puedo"),
)
_CONTRACTIONS = (
    (re.compile(r"(?<![^\W_])(what|how|where|when|it|that|there|here)'s(?![^\W_])"), r"\1 is"),
    (re.compile(r"(?<![^\W_])whats(?![^\W_])"), "what is"),
    (re.compile(r"(?<![^\W_])(you|we|they|what)'re(?![^\W_])"), r"\1 are"),
    (re.compile(r"(?<![^\W_])i'm(?![^\W_])"), "i am"),
    (re.compile(r"(?<![^\W_])can't(?![^\W_])"), "can not"),
    (re.compile(r"(?<![^\W_])cannot(?![^\W_])"), "can not"),
    (re.compile(r"(?<![^\W_])won't(?![^\W_])"), "will not"),
    (re.compile(r"(?<![^\W_])(do|does|did|is|are|was|were|has|have|should|could)n't(?![^\W_])"), r"\1 not"),
)  # fmt: skip
_SPELLINGS = {
    "colour": "color", "colours": "colors", "favourite": "favorite", "flavour": "flavor",
    "behaviour": "behavior", "neighbour": "neighbor", "neighbours": "neighbors", "labour": "labor",
    "centre": "center", "theatre": "theater", "metre": "meter", "metres": "meters", "litre": "liter",
    "litres": "liters", "grey": "gray", "analyse": "analyze", "organise": "organize", "optimise": "optimize",
    "summarise": "summarize", "recognise": "recognize", "realise": "realize", "normalise": "normalize",
    "serialise": "serialize", "initialise": "initialize", "visualise": "visualize", "defence": "defense",
    "travelling": "traveling", "modelling": "modeling", "catalogue": "catalog", "dialogue": "dialog",
}  # fmt: skip
# Words that are a name or an abbreviation with a capital, and another word without.
_NAMES_TOO = frozenset(
    {
        "ada", "aids", "apple", "august", "basic", "bash", "bill", "china", "chrome", "crystal", "dart",
        "drill", "edge", "elm", "excel", "go", "gas", "grace", "hope", "it", "java", "jack", "joy", "julia",
        "jordan", "lisp", "mark", "march", "may", "mercury", "nice", "oracle", "pat", "perl", "polish",
        "python", "ram", "reading", "ruby", "rust", "safari", "scratch", "shell", "slack", "spring",
        "swift", "target", "teams", "turkey", "us", "visa", "who", "will", "windows", "word",
    }
)  # fmt: skip
_TOKENS = re.compile(r"[^\W_]+|[^\w\s]|_")
_END = ".!?…"
# Marks that differ from ASCII in their shape only: apostrophes, and the marks of Chinese and Japanese.
_MARKS = {0x2019: "'", 0x2018: "'", 0x00B4: "'", 0xFF0C: ",", 0xFF1F: "?", 0xFF01: "!", 0x3002: "."}
_EXACT = re.compile(r"[`\"“”„«»{}\[\]<>=;\\|$#@^~*]|\d\.\d|://|\w_\w|\w\(")  # code, quotations, addresses


@dataclass(frozen=True, slots=True)
class _Form:
    """A question in one form: its words and signs with the capitals of names, and whether it asks."""

    words: list[str]
    asks: bool


def may_share_answer(a: str, b: str) -> bool:
    """Whether an answer to one of two questions is an answer to the other; symmetric.

    Texts with code, quotations, addresses or several lines may differ in blanks at their ends only.
    """
    a, b = a.strip(), b.strip()
    if a == b:
        return True
    if any(_EXACT.search(text) or "\n" in text for text in (a, b)):
        return False
    first, second = _form(a), _form(b)
    if first.asks != second.asks or not first.words:
        return False
    if _without_articles(first.words) == _without_articles(second.words):
        return True
    return _is_small(a) != _is_small(b) and _same_in_small_letters(first.words, second.words)


def _form(text: str) -> _Form:
    text = unicodedata.normalize("NFC", text.translate(_MARKS))
    text = _without_courtesies(" ".join(text.split()))
    has_mark = text.endswith("?")
    text = _begun_small(text.rstrip(_END + " ,").lstrip("¿¡ "))
    for pattern, form in _CONTRACTIONS:
        text = pattern.sub(form, text)
    if (request := _REQUEST.match(text)) is not None:
        text, has_mark = text[request.end() :], False
    for pattern, form in (*_REQUESTS_ELSEWHERE, *_FRAMES):
        if pattern.match(text):
            text = pattern.sub(form, text, count=1)
    words = [_SPELLINGS.get(word, word) for word in _TOKENS.findall(text)]
    return _Form(words, asks=has_mark or (bool(words) and words[0] in _ASKING))


def _without_courtesies(text: str) -> str:
    while (courtesy := _COURTESY_BEFORE.match(text)) is not None:
        text = text[courtesy.end() :]
    unended = text.rstrip(_END + " ")
    mark = "?" if text.endswith("?") else ""
    for start in range(max(0, len(unended) - _LONGEST_COURTESY), len(unended)):
        if _COURTESY_AFTER.fullmatch(unended, start) and _is_edge(unended, start):
            return unended[:start] + mark
    return text


def _is_edge(text: str, at: int) -> bool:
    """Whether a word ends before this place, or the script has no spaces."""
    return at == 0 or not text[at].isalnum() or not text[at - 1].isalnum() or text[at] == "谢"


def _begun_small(text: str) -> str:
    """The text with a small first letter, unless it begins with an abbreviation; `I` is small everywhere."""
    head, _, rest = text.partition(" ")
    if not (len(head) > 1 and head.isupper()):
        head = head[:1].lower() + head[1:]
    return f"{head} {rest}".replace(" I ", " i ").replace(" I'", " i'").strip()


def _without_articles(words: list[str]) -> list[str]:
    return [word for word in words if word not in {"a", "an", "the"}]


def _is_small(text: str) -> bool:
    """Whether its writer uses no capitals, so that names are not recognisable."""
    return not any(c.isupper() for c in _begun_small(text))


def _same_in_small_letters(first: list[str], second: list[str]) -> bool:
    """Whether they are the same with their articles, and no word may be a name in one only."""
    folded = [word.lower() for word in first]
    return folded == [word.lower() for word in second] and _NAMES_TOO.isdisjoint(
        word.lower() for word, other in zip(first, second, strict=True) if word != other
    )
