"""The words by which vendors say that a model cannot do something, and the words for what it cannot do.

They are compared in lower case, as `service.providers.wordings.compared` gives them.
"""

from __future__ import annotations

import re

from service.domain.reasoning import EFFORTS


def _any_of(*wordings: str) -> re.Pattern[str]:
    return re.compile("|".join(wordings))


def _naming(wording: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z\d_-])(?:{wording})")


def _token_of(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z\d_-])(?:{'|'.join(words)})(?![\w-])")


CANNOT = _any_of(
    r"\bnot\b|n't\b|\bcannot\b|\bunable\b|\bnever\b|\bno\b|\bonly\b|\bwithout\b|\black(?:s|ing)?\b",
    r"\bun(?:supported|available|known|recogni[sz]ed|expected|implemented|handled|usable)\b|extra_forbidden",
    r"\bextra(?:neous)?\b|\bnewer\b|\bpredates?\b|\bmeaningless\b|\bpreview\b|\bignore[sd]?\b|\bdrop\b",
    r"\bdisabled?\b|\bdisallow|\bforbid|\bprohibit|\bincompatible\b|\bdeprecated\b|\bremoved?\b",
    r"\bomit(?:ted)?\b|\breject(?:s|ed)?\b|\b(?:turned|switched) off\b|\bmust be verified\b|\brequires? --",
    r"\bat most (?:0\b|1\W*$)|\bmust be (?:1|false|none|off|auto|unset|absent)\b",
    r"不支持|不被支持|无法|不能|尚未支持",
)
# The request is faulty for every model, or too large for this one: other requests are not affected.
FAULTY = _any_of(
    r"input should be(?! ')|\bvalid (?:dictionary|list|string|number|integer|boolean|json|url|base64|image)",
    r"\binvalid (?:type|json|base64|url|uri|schema|format|image|id)\b|\bschema is invalid",
    r"\bmissing\b(?! data required for)|\b(?:is|are) required\b|required (?:field|parameter|property|key)",
    r"must (?:not be empty|be (?:an?|the|unique|non|provided|followed|set)|have|contain|match|start|end)\b",
    r"\bnot (?:be )?found\b|\bdo(?:es)? not exist|\bcorresponding\b|\bimmediately\b|\bpreced",
    r"\bids?\b|_id\b|\bunknown tool (?:call|use)|\bno (?:\w+ ){1,2}found\b|\bmalformed|\bcorrupt",
    r"\b(?:not an?|must be) (?:bool|int|num|float|str|arr|list|obj|dict|positive|valid (?:value|number|str))",
    r"(?:could not|unable to|failed to)(?: be)? (?:pars|process|decod|download|fetch|read|load)",
    r"\bexceed|\btoo (?:large|long|big|many|small|short|few|high|low|deep)|\bat (?:most|least) (?!0\b|1\W*$)",
    r"\b(?:less|greater|more|fewer|larger|smaller|longer|shorter) than|\blimit of\b|\brange\b|\bbetween\b",
    r"\bm(?:ax|in)imum\b|\bduplicate|\bempty\b|\bblank\b|\bwhitespace\b|\bnull\b|\bunique\b|\bpattern\b",
    r"\bexpected (?:an?|the|type|str|int|obj|arr)\b|\bof type\b.{0,30}\bgot\b|\bnot of type\b",
    r"is not valid under|\bdo(?:es)?(?: not|n't) match\b(?! any of the expected tags)",
    r"(?<!response )\bformats?\b|\bmedia[ _]type|\bmime\b|\d ?(?:[kmg]i?b|px|pixels|bytes|tokens)\b",
    r"\bnegative\b|(?:allowed|permitted) to\b|\bnot (?:in|among|listed|defined|declared|provided)\b",
    r"only (?:be )?(?:allowed|specified|valid|permitted|used) (?:when|while|if)\b",
    r"\bsafety\b|\bpolic(?:y|ies)\b|\bmoderat|\bflagged\b|\bsignature|\bencrypted",
)
# What follows says what to send instead.
ADVICE = _any_of(
    r"\b(?:supported|valid|allowed|available|accepted) (?:value|parameter|argument|field|type|option)s?\b",
    r"\bplease\b|\binstead\b|\btry\b|[.;] ?use\b|\bexpected one of\b|\bhint\b|\bdid you mean\b",
)
TOGETHER = _any_of(
    r"\b(?:with|together|both|and|when|while|if|simultaneous(?:ly)?|same time|incompatible|alongside)\b",
    r"\bcombin",
)
ONE_VALUE = _any_of(
    r"unsupported value|invalid value|one of\b|input should be '",
    r"(?:supported|valid|allowed|accepted) values",
)
# Values that some models know; any other value may be the client's mistake.
KNOWN_VALUE = _token_of(*EFFORTS, "adaptive", "enabled", "required", "flex")
# Values that name their field.
TELLING_VALUES = frozenset({"adaptive", "flex", "minimal", "priority", "xhigh"})

_TEXT_ONLY = r"text[- ]only|only (?:\w+ ){0,4}text\b"
# Kinds of content, and fields that vendors do not call by their name.
KINDS = {
    "images": _naming(rf"images?\b|image_url|vision\b|visual|multi-?modal|pictures?\b|{_TEXT_ONLY}|图"),
    "audio": _naming(rf"audio|sound|speech|{_TEXT_ONLY}|音频"),
    "files": _naming(rf"files?\b|pdfs?\b|documents?\b|attachments?\b|{_TEXT_ONLY}|文件"),
    "video": _naming(rf"videos?\b|{_TEXT_ONLY}|视频"),
    "tools": _naming(r"tools?\b|tool[ -]?(?:use|call)|functions?\b|function[ _-]?call|工具|函数"),
    "tool_choice": _naming(r"tool[_ ]choice|forc\w{0,4} (?:a |the )?(?:tool|function)"),
    "parallel_tool_calls": _naming(r"parallel"),
    "json_schema": _naming(
        r"json[_ ]schema|structured[_ ]outputs?|response[_ ](?:schema|format)|output.format"
    ),
    "json_object": _naming(r"json[_ ]object|json[_ -]mode|response[_ ]format"),
    "reasoning_effort": _naming(r"reasoning(?! models)|effort|thinking"),
    "thinking": _naming(r"thinking|thought"),
    "stream": _naming(r"stream(?:ing|ed|s)?\b"),
    "logprobs": _naming(r"log[ _]?prob"),
    "n": _naming(
        r"multiple (?:choices|completions|candidates)|only (?:one|1|a single) (?:choice|candidate|compl)"
    ),
    "developer message": _naming(r"developer"),
    "system message in mid-conversation": _naming(r"system"),
    "system message": _naming(r"system"),
    "prefilled answer": _naming(r"pre-?fill|last (?:role|message)|assistant message|conversation must end"),
    "stop": _naming(r"stop[ _-]?sequences?"),
    "messages.cache_control": _naming(r"cache_control|prompt cach"),
    "tools.strict": _naming(r"strict"),
}
# Words that also stand for other things than the field of this name.
PLAIN_WORDS = frozenset({"n", "name", "store", "stop", "system", "user", "k"})
# Where a text uses such a word as the name of a field.
AS_A_NAME = (
    re.compile(r"[`'\"](\w{1,40})[`'\"]"),
    re.compile(r"(?:argument|parameter|field|property|word|supplied|permitted)(?:s|\(s\))?:? (\w{1,40})\b"),
    re.compile(r"[:,] (\w{1,40})(?= is\b| field| not\b|,|:|$)"),
    re.compile(r"\b(\w{1,40}) ?[=>]"),
    re.compile(r"\A(\w{1,40}):"),
)
