"""What a provider says when it refuses: one reader for the bodies of all providers and their proxies."""

from __future__ import annotations

import ast
import html
import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterable
from dataclasses import dataclass, replace
from http import HTTPStatus

import orjson

from service.domain.basics import Json

MAX_SENTENCE_CHARS = 4000
_MAX_DEPTH = 12
_MAX_TEXT_CHARS = 20_000
_MAX_ITEMS = 3  # of a list of faults

_SENTENCES = (
    "message",
    "msg",
    "error_message",
    "error_msg",
    "errormessage",
    "errormsg",
    "error_description",
    "errordetail",
    "detail",
    "details",
    "description",
    "reason",
)
_ENVELOPES = ("error", "errors", "fault", "exception", "body", "response", "data", "result")
_STATUSES = ("code", "status", "status_code", "statuscode", "http_status", "httpstatus", "error_code")
_KINDS = ("type", "__type", "status", "error_type", "name", "errortype")
_EMPTY_PHRASES = frozenset(
    {phrase.phrase.lower() for phrase in HTTPStatus}
    | {
        "error",
        "null",
        "none",
        "bad_request",
        "unknown error",
        "an error occurred",
        "provider returned error",
    }
    | {"invalid request", "request failed", "unprocessable entity", "upstream error", "invalid_request_error"}
)
_ELEMENT = r"<(?:\w{1,20}:)?(?:%s)(?:\s[^<>]{0,300})?>\s{0,50}([^<>]{1,2000})<"
_ELEMENTS = [re.compile(_ELEMENT % name, re.IGNORECASE) for name in ("message", "h1", "title", "p", "pre")]
_CODE_ELEMENT = re.compile(r"<(?:\w{1,20}:)?code>([\w.]{1,100})<", re.IGNORECASE)
_EVENT = re.compile(r"\A(?:event: ?[\w.]{1,40}\s{1,4})?data: ?")  # an error sent as a server-sent event
# What libraries and proxies write around the sentence of the provider.
_PREFIX = re.compile(
    r"(?:litellm(?:\.\w{1,60})+: ?|\w{1,60}(?:Error|Exception)(?: -|:) ?|Error code: \d{3}(?: -|:) ?"
    r"|(?:HTTP )?\d{3}(?: -|:) )"
)
_SUFFIX = re.compile(
    r"[ .,]{0,3}(?:Received Model Group=|Available Model Group|LiteLLM Retried:|No fallback model group"
    r"|To drop these|Traceback \(most recent call last\)|For troubleshooting, visit:).*"
)
_INTERNAL = re.compile(
    r"<[\w. ]{1,100}(?: object)? at 0x[0-9a-f]{1,16}>|<(?:httpx\.)?Response \[[^\]<>]{1,60}\]>"
)
_MIN_SECRET_CHARS = 8  # a shorter key is a placeholder, such as `none`, and may be part of any word
_KEY = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|r8|key|nvapi|pplx|fw|csk)[-_][\w-]{12,200}\*{0,60}\w{0,8}"
    r"|\bAIza[\w-]{20,60}|Bearer \S{1,300}"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a body says.

    Args:
        sentence: what a person can read; None: it has no such sentence.
        status: the HTTP status that the body itself states.
        kinds: names of the error, in lower case: types, codes in words, Google's `status`, Amazon's `__type`.
        code: OpenAI's `code`.
        param: the field that is blamed.
    """

    sentence: str | None = None
    status: int | None = None
    kinds: frozenset[str] = frozenset()
    code: str | None = None
    param: str | None = None

    @property
    def is_empty(self) -> bool:
        return self == Refusal()


def read(body: object, *, secret: str | None = None) -> Refusal:
    """What the body says, whatever its form: JSON of any vendor, JSON in text, XML, HTML, plain text, bytes.

    Args:
        secret: the key of the call, which is masked where the provider repeats it.
    """
    refusal = _read(body, _MAX_DEPTH)
    if refusal.sentence is None:
        return refusal
    is_secret = secret is not None and len(secret) >= _MIN_SECRET_CHARS
    sentence = refusal.sentence.replace(secret, "***") if secret and is_secret else refusal.sentence
    return replace(refusal, sentence=_KEY.sub("***", sentence))


def is_error(body: object) -> bool:
    """Whether JSON that came where an answer or a part of it was due is an error."""
    if not isinstance(body, dict) or "choices" in body:
        return isinstance(body, dict) and bool(body.get("error"))
    if any(value and name.startswith("error") for name, value in body.items()):
        return True
    if "error" in (body.get("type"), body.get("object")):
        return True
    refusal = read(body)
    is_named = any(kind.endswith(("error", "exception")) for kind in refusal.kinds)
    return refusal.sentence is not None and (refusal.status is not None or is_named or "detail" in body)


def value_of(data: bytes) -> object:
    """The JSON value; the bytes themselves if they are none."""
    try:
        value: object = orjson.loads(data.removeprefix(BOM_UTF8))
    except orjson.JSONDecodeError:
        return data
    return value


def _read(body: object, depth: int) -> Refusal:
    if depth == 0:
        return Refusal()
    if isinstance(body, bytes):
        return _in_text(body[: 4 * _MAX_TEXT_CHARS].decode("utf-8-sig", "replace"), depth)
    if isinstance(body, str):
        return _in_text(body, depth)
    if isinstance(body, list):
        return _joined(_read(item, depth - 1) for item in body[:_MAX_ITEMS])
    return _in_object(body, depth) if isinstance(body, dict) else Refusal()


def _in_object(body: Json, depth: int) -> Refusal:
    fields = {str(name).lower(): value for name, value in body.items()}
    refusal = _of_fields(fields)
    metadata = fields.get("metadata")  # OpenRouter: `raw` is what its provider said
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    inner = [_read(fields[name], depth - 1) for name in _ENVELOPES if fields.get(name)]
    spoken = [_read(fields[name], depth - 1) for name in _SENTENCES if fields.get(name)]
    title = _read(fields.get("title"), depth - 1)
    for told in (_read(raw, depth - 1), *inner, *spoken, title):
        refusal = _merged(refusal, told)
    return _with_place(refusal, fields)


def _of_fields(fields: Json) -> Refusal:
    """What the fields of one object say beside sentences."""
    statuses = [status for name in _STATUSES if (status := _status(fields.get(name))) is not None]
    kinds = {_kind(fields[name]) for name in (*_KINDS, "code", "reason") if _is_word(fields.get(name))}
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:  # OpenRouter's moderation
        kinds.add("flagged_input")
    code, param = fields.get("code"), fields.get("param")
    has_code = _is_word(code) and _status(code) is None
    return Refusal(
        status=statuses[0] if statuses else None,
        kinds=frozenset(kinds - {"error", "object"}),
        code=str(code) if has_code else None,
        param=param[:200] if isinstance(param, str) and param else None,
    )


def _with_place(refusal: Refusal, fields: Json) -> Refusal:
    """The refusal with the field that FastAPI's `loc` blames."""
    loc = fields.get("loc")
    if not isinstance(loc, list) or refusal.sentence is None:
        return refusal
    place = ""
    for step in loc[:20]:
        place += f"[{step}]" if isinstance(step, int) else f".{step}"[:60]
    place = place.removeprefix(".body").lstrip(".")
    if not place:
        return refusal
    return replace(refusal, sentence=f"{place}: {refusal.sentence}", param=refusal.param or place)


def _merged(first: Refusal, second: Refusal) -> Refusal:
    """Both together: the first sentence stays, and so does the first of every other value."""
    return Refusal(
        sentence=first.sentence or second.sentence,
        status=first.status or second.status,
        kinds=first.kinds | second.kinds,
        code=first.code or second.code,
        param=first.param or second.param,
    )


def _joined(refusals: Iterable[Refusal]) -> Refusal:
    """A list of faults as one, with all its sentences."""
    joined, sentences = Refusal(), []
    for refusal in refusals:
        joined = _merged(joined, refusal)
        sentences += [refusal.sentence] if refusal.sentence else []
    return replace(joined, sentence="; ".join(dict.fromkeys(sentences)) or None)


def _in_text(text: str, depth: int) -> Refusal:
    text = _EVENT.sub("", text[:_MAX_TEXT_CHARS].strip())
    if text.startswith("<") and not _INTERNAL.match(text):
        return _in_markup(text)
    start, end = text.find("{"), text.rfind("}")
    if text.startswith("["):
        start, end = 0, text.rfind("]")
    if 0 <= start < end and (value := _value(text[start : end + 1])) is not None:
        told = _read(value, depth - 1)
        if start == 0:
            return told
        # Inside a sentence it may be the client's own JSON, so it decides nothing.
        if told.sentence is not None and _is_envelope(value):
            return Refusal(sentence=told.sentence, code=told.code, param=told.param)
    return Refusal(sentence=_sentence(text))


def _is_envelope(value: object) -> bool:
    names = value.keys() if isinstance(value, dict) else set()
    return bool(names & {"error", "errors", "detail", "__type"}) or {"message", "code"} <= names


def _value(text: str) -> object:
    """The JSON value, or the value that Python printed as a dictionary; None: it is neither."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.replace('\\"', '"').replace("\\'", "'").replace("\\n", " "), strict=False)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text) if len(text) < 5_000 else None
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _in_markup(text: str) -> Refusal:
    """XML's message, or the heading, title or paragraph of a page; often it says no more than the status."""
    code = _CODE_ELEMENT.search(text)
    kinds = frozenset({_kind(code[1])}) if code else frozenset()
    for element in _ELEMENTS:
        for found in element.findall(text)[:_MAX_ITEMS]:
            if (sentence := _sentence(html.unescape(found))) is not None:
                return Refusal(sentence=sentence, kinds=kinds)
    return Refusal(kinds=kinds)


def _sentence(text: str) -> str | None:
    """The text without what surrounds it; None: nothing is left that a person could read."""
    text = _INTERNAL.sub("", text[:MAX_SENTENCE_CHARS])
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    while (prefix := _PREFIX.match(text)) is not None:
        text = text[prefix.end() :]
    text = _SUFFIX.sub("", text).strip(" '\"")
    if text.startswith("b'") or text.count("�") * 10 > len(text):
        return None
    bare = re.sub(r"^(?:http )?\d{3}[ :|-]{0,3}", "", text.lower()).strip(" .!:-|")
    is_readable = sum(map(str.isalpha, bare)) > 1 and bare not in _EMPTY_PHRASES
    return text if is_readable else None


def _status(value: object) -> int | None:
    """The value if it is an HTTP status of an error, also as a string or as `429 Too Many Requests`."""
    if isinstance(value, str) and re.fullmatch(r"[45]\d\d\b.{0,60}", value):
        value = int(value[:3])
    is_status = isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600
    return value if is_status and isinstance(value, int) else None


def _is_word(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 100 and " " not in value and not value.isdigit()


def _kind(value: object) -> str:
    """The name of an error without its name space: `com.amazon.coral#ThrottlingException`."""
    return re.split(r"[#/]", str(value).strip())[-1].partition(":")[0].lower()
