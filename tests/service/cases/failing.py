"""Cases that fail today, each with its reason. A case that passes must leave its list."""

from __future__ import annotations

FAILING: dict[str, str] = {
    "r01-reasoning-back": "no reasoning_content stands for the thinking that is missing",
    "r08-claude-thinks-for-openai": "thinking stays on in a tool loop without it",
    "s11-sse-for-whole": "a stream in place of a whole answer is not read",
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
    "v01-no-properties": "a schema without properties is passed on",
    "v04-developer": "the role developer is passed on to every server",
    "v07-stream-options": "stream_options are demanded of every server",
    "v08-reasoning-field": "OpenRouter's `reasoning` is dropped",
}

# Cases whose answer the vendor's own library cannot read.
UNREADABLE: dict[str, str] = {
    "r01-reasoning-back": "no reasoning_content stands for the thinking that is missing",
    "r08-claude-thinks-for-openai": "thinking stays on in a tool loop without it",
    "s11-sse-for-whole": "a stream in place of a whole answer is not read",
    "s14-keepalives-hold": "comments of the provider do not count as life",
    "s17-whole-after-65s": "whole answers have 60 s by default",
    "v01-no-properties": "a schema without properties is passed on",
    "v04-developer": "the role developer is passed on to every server",
    "v07-stream-options": "stream_options are demanded of every server",
}
