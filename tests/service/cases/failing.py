"""Cases that fail today, each with its reason. A case that passes must leave its list."""

from __future__ import annotations

FAILING: dict[str, str] = {
    "r01-reasoning-back": "no reasoning_content stands for the thinking that is missing",
    "r05-content-in-parts": "content in parts is dropped",
    "r07-content-in-parts-openai": "content in parts is passed on",
    "r08-claude-thinks-for-openai": "thinking stays on in a tool loop without it",
    "s01-usage-without-choices": "an event without choices breaks the stream",
    "s02-choices-null": "an event without choices breaks the stream",
    "s04-done-without-finish": "[DONE] without a finish reason counts as cut off",
    "s06-split-emoji": "half of a character breaks the stream",
    "s11-sse-for-whole": "a stream in place of a whole answer is not read",
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
    "t01-same-index": "calls that share an index are passed on",
    "t03-no-index": "a missing index is passed on",
    "t06-id-changes": "a piece with another id begins a call",
    "t08-one-id-twice": "a repeated id is passed on",
    "t10-no-id": "a missing id is passed on",
    "t11-arguments-object": "arguments that are an object are passed on",
    "t13-finish-stop": "finish_reason stop beside tool calls is passed on",
    "v01-no-properties": "a schema without properties is passed on",
    "v04-developer": "the role developer is passed on to every server",
    "v07-stream-options": "stream_options are demanded of every server",
    "v08-reasoning-field": "OpenRouter's `reasoning` is dropped",
}

# Cases whose answer the vendor's own library cannot read.
UNREADABLE: dict[str, str] = {
    "r01-reasoning-back": "no reasoning_content stands for the thinking that is missing",
    "r05-content-in-parts": "content in parts is dropped",
    "r08-claude-thinks-for-openai": "thinking stays on in a tool loop without it",
    "s01-usage-without-choices": "an event without choices breaks the stream",
    "s02-choices-null": "an event without choices breaks the stream",
    "s04-done-without-finish": "[DONE] without a finish reason counts as cut off",
    "s06-split-emoji": "half of a character breaks the stream",
    "s11-sse-for-whole": "a stream in place of a whole answer is not read",
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
    "t01-same-index": "calls that share an index are passed on",
    "t03-no-index": "a missing index is passed on",
    "t08-one-id-twice": "a repeated id is passed on",
    "t10-no-id": "a missing id is passed on",
    "t11-arguments-object": "arguments that are an object are passed on",
    "v01-no-properties": "a schema without properties is passed on",
    "v04-developer": "the role developer is passed on to every server",
    "v07-stream-options": "stream_options are demanded of every server",
}
