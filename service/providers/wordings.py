"""What only this model cannot do, in the words of the vendors: another model may accept the same request.

Every line of the tables has a sentence of a real vendor in tests/service/providers/wordings.txt.
Sentences are compared in lower case and without what they quote: quotes may hold the client's own text.
"""

from __future__ import annotations

import re

MAX_CHARS = 1500  # of a sentence that is compared
_N = r"[\d,. _k]{1,20}"

# The prompt, or prompt and answer together, are longer than the model's window.
CONTEXT_LENGTH = (
    r"(?:maximum|max) (?:context|prompt|model|sequence|input|total)[ _](?:length|window|size|limit)",
    r"model'?s? (?:maximum )?context (?:length|window|limit|size)",
    r"longer than the (?:model|maximum|context)",
    r"exceeds? (?:the )?(?:model'?s? )?(?:maximum |available |max )?context",
    r"exceeds? the context (?:window|length|size)",
    r"context window exceed",
    r"context[ _](?:length|window|size)s? (?:is |was )?(?:exceed|limit|too)",
    r"(?:prompt|input|message|request|messages|conversation)s? (?:is|are) too long",
    r"(?:prompt|input) (?:too long|too large for)",
    r"too large for model with",
    r"input (?:is )?too large to process",
    r"tokens? (?:count|length|limit)[^.]{0,40}exceeds?",
    r"exceeds? (?:the )?(?:maximum |max )?(?:number of |model )?(?:input )?tokens? (?:limit|allowed|count)",
    r"exceeds? (?:the )?maximum (?:allowed )?(?:length|number of tokens|input)",
    r"exceed(?:ed|s)? model token limit",
    r"(?:input tokens|input length)[^.]{0,60} exceed",
    r"exceed the configured limit",
    r"input token count is [^.]{1,40} but (?:the )?model only supports",
    r"too many (?:input |prompt )?tokens",
    r"inputs[` '\"]{1,3}tokens \+ [` '\"]{0,2}max_new_tokens",
    r"inputs[` '\"]{1,3}must have less than " + _N,
    r"reduce the length of (?:the |your )?(?:messages|prompt|input|either)",
    r"current length is " + _N + r"while limit is",
    r"maximum input length is",
    r"range of input length should be",
    r"prompt token count of " + _N + r"exceeds",
    r"(?:number of tokens|tokens to keep)[^.]{0,60}greater than the context",
    r"cannot exceed " + _N + r"- received",
    r"context length of " + _N + r"tokens",
    r"(?:超过|超出|超长|过长)[^。]{0,20}(?:上下文|长度|最大|token)",
    r"(?:上下文|长度|输入|提示词?|prompt|token)[^。]{0,20}(?:超过|超出|超长|过长|超限)",
)

# A field, or a part of the content, that this model or its server does not know.
UNSUPPORTED_PARAMETER = (
    r"unrecognized (?:request )?(?:argument|parameter|field|key|property)",
    r"unknown (?:parameter|field|name|argument|key|property|request field|variant)",
    r"unexpected (?:keyword argument|property|field|parameter)",
    r"extra (?:inputs|fields) (?:are )?not permitted",
    r"additional properties are not allowed",
    r"extraneous key",
    r"is not enabled for",
    r"\b(?:this|the) (?:model|deployment|endpoint|backend) (?:cannot|can not|can't|is not able|is unable)",
    r"no endpoints found that (?:support|can handle)",
    r"(?:requires?|needs?|without) (?:the )?--[a-z]",
    r"(?:not|n't|cannot) (?:currently )?(?:be )?support(?:ed|s)?\b",
    r"\bunsupported\b",
    r"is only supported (?:by|for|with|on|in) ",
    r"not (?:available|permitted|allowed|implemented|accepted) (?:for|with|by|in|on) (?:this|the|your) "
    r"(?:model|endpoint|api)",
    r"cannot (?:both )?be (?:specified|used|set)(?: together)?[^.]{0,40}(?:for|with) (?:this|the) model",
    r"(?:is|are) not permitted",
    r"could not process image|missing data required for image",
    r"not a multimodal model",
    r"does not have (?:vision|image|audio|tool)",
    r"(?:model|server)[^.]{0,40} cannot (?:accept|handle|process|read|see) (?:image|audio|file|tool|video)",
    r"(?:must|should|needs to) (?:be|have) (?:set )?stream ?(?:=|to) ?true",
    r"must be verified to stream",
    r"invalid (?:json )?schema for|input_schema|failed to (?:parse|compile) (?:the )?(?:grammar|schema)",
    r"schema (?:contains|has|uses)[^.]{0,40} not",
    r"(?:不支持|暂不支持|不被支持|无法处理|不能处理|尚未支持)",
)

# A value that another model may take: a role, a size, a number, a name, an order of messages.
UNSUPPORTED_VALUE = (
    r"unsupported (?:value|role|content|message|media|image|file|audio|schema|type|format|mime)",
    r"does not support [^.]{1,60} with this model",
    r"only the default \(1\) value is supported",
    r"(?:may|can|must) only be set to",
    r"only " + _N + r"is allowed for this model",
    r"(?:is too large|exceeds)[^.]{0,30}\. ?this model supports at most",
    r"which is the maximum allowed number of (?:output )?tokens",
    r"the maximum value for [^.]{1,60} is less than",
    r"max_?(?:output|completion|new)?_?tokens[^.]{0,60}(?:too large|supported range|valid range|at most"
    r"|should be|must be|exceed|less than|or equal|>)",
    r"(?:valid|supported) range (?:of|is)|range of [\w. ]{1,40} should be",
    r"maximum tokens you requested exceeds",
    r"(?:string|array|object|name|list) (?:is )?too long",
    r"(?:should|must) (?:have|contain) at most|(?:supports|accepts|allows) (?:up to|at most|a maximum of) ",
    r"(?:must|should) be (?:at most|less than or equal to|no more than|one of|no longer than) ?",
    r"(?:maximum|limit)[^.]{0,20} (?:number|amount|count) of [\w ]{0,20}(?:tool|function|stop|image|message)",
    r"have length less than or equal to",
    r"too many (?:tools|functions|stop|images|files|messages|function|image|parameters|schema)",
    r"more than " + _N + r"(?:stop|tools?|functions?|images?)",
    r"at most " + _N + r"(?:stop|tools?|functions?|images?|audio|videos?|\w{1,12}\(s\))",
    r"(?:is|was) not one of",
    r"unexpected role|invalid role|valid role|roles? (?:is |are )?not supported|unknown role",
    r"roles? must alternate|only user(?:,| and) assistant|expected last role|system message must be",
    r"names?\b.{0,60}(?:does not match|should match|must match|must start|must be|is invalid)",
    r"string (?:does not|should) match (?:the )?pattern",
    r"invalid function name",
    r"unknown variant",
    r"content[^.]{0,30}must be a string|must be a string, got|expected a string, got (?:an )?(?:array|list)",
    r"(?:only|just) (?:one|1) (?:candidate|choice)",
    r"must be 1\b|number must be at most 1",
    r"only [^.]{1,60} (?:is|are) supported",
    r"range: ?0\.\.1",
    r"non-empty for object type",
    r"(?:图片|图像|音频|工具|函数名|角色)[^。]{0,20}(?:不合法|无效|错误|过多|过大)",
)

# Such wordings count even with a status that says the server failed: some servers send 500 for them.
_WITH_ANY_STATUS = (
    *CONTEXT_LENGTH[:7],
    r"does not support (?:tools|images?|vision|thinking|chat|audio|functions?|multimodal)",
    r"(?:image|audio|video|tool)s? (?:input )?(?:is|are) not supported",
    r"requires? --jinja|tools param requires",
    r"exceeds the available context",
)

# A request that is faulty for every model, in words that look like a limit of one.
_OF_EVERY_MODEL = re.compile(
    r"(?:invalid schema for|input_schema).{0,80}(?:field required|input should be|must be an? )"
    r"|is not of type|must be a json schema of|is not valid under|schema is invalid|must be unique"
    r"|must be (?:greater than or equal to|at least) [01]\b|should be greater than or equal to [01]\b"
)

# The request is larger than the model's limit per minute: waiting does not help.
_NEVER_FITS = re.compile(r"\brequest too large\b")

_CODES = {  # the vendors' own codes and names of errors
    "context_length_exceeded": "context_length_exceeded",
    "contextwindowexceedederror": "context_length_exceeded",
    "context_window_exceeded": "context_length_exceeded",
    "exceed_context_size_error": "context_length_exceeded",
    "model_max_prompt_tokens_exceeded": "context_length_exceeded",
    "tokens_limit_reached": "context_length_exceeded",
    "unsupported_parameter": "unsupported_parameter",
    "unsupportedparamserror": "unsupported_parameter",
    "unknown_parameter": "unsupported_parameter",
    "extra_forbidden": "unsupported_parameter",
    "invalid_function_parameters": "unsupported_parameter",
    "invalid_json_schema": "unsupported_parameter",
    "not_supported_error": "unsupported_parameter",
    "notimplementederror": "unsupported_parameter",
    "unsupported_value": "unsupported_value",
    "string_above_max_length": "unsupported_value",
    "array_above_max_length": "unsupported_value",
    "integer_above_max_value": "unsupported_value",
    "request_too_large": "request_too_large",
}
_QUOTE_MARKS = str.maketrans("“”„«»`\u2018\u2019", '"""""\'\'\'')
_QUOTED = re.compile(r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)")
_IDENTIFIER = re.compile(r"[\"'][\w.\[\]:/-]{0,80}[\"']")


def _any_of(wordings: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(wordings))


_WORDINGS = {
    "context_length_exceeded": _any_of(CONTEXT_LENGTH),
    "unsupported_value": _any_of(UNSUPPORTED_VALUE),
    "unsupported_parameter": _any_of(UNSUPPORTED_PARAMETER),
}
_SURE_WORDINGS = _any_of(_WITH_ANY_STATUS)


def limit_of_model(status: int, kinds: frozenset[str], sentence: str | None) -> str | None:
    """OpenAI's code of the limit that the request exceeds; None: the refusal names no limit of this model.

    Args:
        status: with which the provider refuses.
        kinds: the names that it gives the error, in lower case.
        sentence: what it says.
    """
    told = compared(sentence or "")
    if status == 429:
        return "request_too_large" if _NEVER_FITS.search(told) else None
    if status >= 500 and not _SURE_WORDINGS.search(told):
        return next((_CODES[kind] for kind in kinds if _CODES.get(kind) == "context_length_exceeded"), None)
    if _OF_EVERY_MODEL.search(told):
        return None
    codes = {_CODES[kind] for kind in kinds if kind in _CODES}
    found = [code for code, wordings in _WORDINGS.items() if code in codes or wordings.search(told)]
    return found[0] if found else next(iter(codes), None)


def compared(sentence: str) -> str:
    """The sentence as it is compared: quoted names stay, other quotations go."""
    text = sentence.lower().translate(_QUOTE_MARKS)
    text = _QUOTED.sub(lambda quoted: quoted[0] if _IDENTIFIER.fullmatch(quoted[0]) else '""', text)
    return " ".join(text.split())[:MAX_CHARS]
