"""How long a hostile body stops other requests, and the memory it takes.

    .venv/bin/python -m benchmarks.hostile [--megabytes 20] [--only NAME ...]

The benchmark starts a router with simulated models in another process, sends it one body of each shape, and
meanwhile asks for a path that needs no work. The longest of these waits is the stall.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from benchmarks.latency.processes import cpu_s, memory_mb
from benchmarks.latency.router import started_router

CHAT, MESSAGES, FEEDBACK, ADMIN = "/v1/chat/completions", "/v1/messages", "/feedback", "/admin/models"
COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"
RESPONSES, GEMINI = "/v1/responses", "/v1beta/models/auto:generateContent"
USER = b'{"role":"user","content":"Hi"}'


def _filled(head: bytes, item: bytes, last: bytes, tail: bytes) -> Callable[[int], bytes]:
    """A body of about n bytes, with `item` as often as it fits."""
    return lambda n: head + item * ((n - len(head) - len(last) - len(tail)) // len(item)) + last + tail


def _chat(field: bytes, item: bytes, last: bytes, tail: bytes) -> Callable[[int], bytes]:
    return _filled(b'{"model":"auto","messages":[' + USER + b"]," + field, item, last, tail + b"}")


def _turns(item: bytes, more: bytes = b"") -> Callable[[int], bytes]:
    return _filled(b"{" + more + b'"messages":[', item + b",", item, b"]}")


def _content(item: bytes, last: bytes = b"", more: bytes = b"") -> Callable[[int], bytes]:
    head = b"{" + more + b'"messages":[{"role":"user","content":['
    return _filled(head, item + b",", last or item, b"]}]}")


def _keys(field: bytes) -> Callable[[int], bytes]:
    """A wide object of different names, in descending order."""

    def body(n: int) -> bytes:
        members = b",".join(b'"%09d":1' % number for number in range(n // 14, 0, -1))
        return b'{"max_tokens":9,"messages":[' + USER + b'],"' + field + b'":{' + members + b"}}"

    return body


def _wide_body(n: int) -> bytes:
    members = b",".join(b'"%09d":1' % number for number in range(n // 14, 0, -1))
    return b'{"messages":[' + USER + b"]," + members + b"}"


MAX = b'"max_tokens":9,'
TEXT = b'{"type":"text","text":"x"}'
CALL = b'{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}'
USE = b'{"type":"tool_use","id":"c","name":"f","input":{}}'
RESULT = b'{"type":"tool_result","tool_use_id":"c","content":"x"}'
TOOL = b'{"type":"function","function":{"name":"f","parameters":{}}}'
CONTENT = b'{"role":"user","parts":[{"text":"x"}]}'
SCORE = b'{"request_id":"r","score":1}'

SHAPES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "one long text": (CHAT, _filled(b'{"messages":[{"role":"user","content":"', b"word ", b"", b'"}]}')),
    "one long word": (CHAT, _filled(b'{"messages":[{"role":"user","content":"', b"w", b"", b'"}]}')),
    "spaces": (CHAT, _filled(b'{"messages":[{"role":"user","content":"', b" ", b"x", b'"}]}')),
    "escapes": (CHAT, _filled(b'{"messages":[{"role":"user","content":"', b"\\u00e9", b"", b'"}]}')),
    "backslashes": (CHAT, _filled(b'{"messages":[{"role":"user","content":"', b"\\\\", b"", b'"}]}')),
    "system reminders": (
        CHAT,
        _filled(b'{"messages":[{"role":"user","content":"', b"<system-reminder>", b"x", b'"}]}'),
    ),
    "attribution lines": (
        MESSAGES,
        _filled(
            b"{" + MAX + b'"messages":[{"role":"user","content":"',
            b"x-anthropic-billing-header\\n",
            b"x",
            b'"}]}',
        ),
    ),
    "lists": (CHAT, _chat(b'"x":[', b"[],", b"0", b"]")),
    "objects": (CHAT, _chat(b'"x":[', b"{},", b"0", b"]")),
    "nested 90 deep": (CHAT, _chat(b'"x":[', b"[" * 90 + b"]" * 90 + b",", b"0", b"]")),
    "open brackets": (CHAT, _chat(b'"x":', b"[", b"0", b"")),
    "numbers": (CHAT, _chat(b'"x":[', b"0,", b"0", b"]")),
    "one long number": (CHAT, _chat(b'"x":', b"1", b"", b"")),
    "one long fraction": (CHAT, _chat(b'"temperature":0.', b"1", b"", b"")),
    "repeated field": (CHAT, _chat(b"", b'"x":[],', b'"y":0', b"")),
    "logit_bias": (CHAT, _keys(b"logit_bias")),
    "router options": (CHAT, _keys(b"router")),
    "fields of the body": (CHAT, _wide_body),
    "tokens of a prompt": (COMPLETIONS, _filled(b'{"prompt":[', b"7,", b"7", b"]}")),
    "texts of a prompt": (COMPLETIONS, _filled(b'{"prompt":[', b'"x",', b'"x"', b"]}")),
    "texts to embed": (EMBEDDINGS, _filled(b'{"model":"router-minilm","input":[', b'"x",', b'"x"', b"]}")),
    "tokens to embed": (EMBEDDINGS, _filled(b'{"model":"router-minilm","input":[', b"7,", b"7", b"]}")),
    "a word to embed": (EMBEDDINGS, _filled(b'{"model":"router-minilm","input":"', b"w", b"", b'"}')),
    "wrong messages": (CHAT, _turns(b"0")),
    "empty messages": (CHAT, _turns(b"{}")),
    "small messages": (CHAT, _turns(b'{"role":"user","content":"x"}')),
    "wrong parts": (CHAT, _content(b"0")),
    "parts": (CHAT, _content(TEXT)),
    "tool calls": (
        CHAT,
        _filled(b'{"messages":[{"role":"assistant","tool_calls":[', CALL + b",", CALL, b"]}," + USER + b"]}"),
    ),
    "wrong tools": (CHAT, _chat(b'"tools":[', b"0,", b"0", b"]")),
    "tools without function": (CHAT, _chat(b'"tools":[', b'{"type":"function"},', b"0", b"]")),
    "tools": (CHAT, _chat(b'"tools":[', TOOL + b",", TOOL, b"]")),
    "one large schema": (
        CHAT,
        _chat(
            b'"tools":[{"type":"function","function":{"name":"f","parameters":{"enum":[',
            b'"word",',
            b"0",
            b"]}}}]",
        ),
    ),
    "models": (CHAT, _chat(b'"router":{"models":[', b"0,", b"0", b"]}")),
    "stop sequences": (CHAT, _chat(b'"stop":[', b'"x",', b'"x"', b"]")),
    "messages: wrong blocks": (MESSAGES, _content(b"0", more=MAX)),
    "messages: blocks without type": (MESSAGES, _content(b"{}", more=MAX)),
    "messages: blocks": (MESSAGES, _content(TEXT, more=MAX)),
    "messages: small": (MESSAGES, _turns(b'{"role":"user","content":"x"}', MAX)),
    "messages: tool uses": (
        MESSAGES,
        _filled(
            b"{" + MAX + b'"messages":[{"role":"assistant","content":[',
            USE + b",",
            USE,
            b"]}," + USER + b"]}",
        ),
    ),
    "messages: wrong results": (MESSAGES, _content(RESULT, more=MAX)),
    "messages: result of wrong blocks": (
        MESSAGES,
        _filled(
            b"{"
            + MAX
            + b'"messages":[{"role":"assistant","content":['
            + USE
            + b']},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[',
            b"0,",
            b"0",
            b"]}]}]}",
        ),
    ),
    "messages: stop sequences": (
        MESSAGES,
        _filled(b"{" + MAX + b'"messages":[' + USER + b'],"stop_sequences":[', b"0,", b"0", b"]}"),
    ),
    "messages: system": (
        MESSAGES,
        _filled(b"{" + MAX + b'"messages":[' + USER + b'],"system":[', b"0,", b"0", b"]}"),
    ),
    "messages: tools": (
        MESSAGES,
        _filled(
            b"{" + MAX + b'"messages":[' + USER + b'],"tools":[',
            b'{"name":"f","input_schema":{}},',
            b"0",
            b"]}",
        ),
    ),
    "count tokens": (f"{MESSAGES}/count_tokens", _content(TEXT)),
    "chat template": (f"{MESSAGES}/chat-template", _content(TEXT)),
    "chat template: tools": (
        f"{MESSAGES}/chat-template",
        _filled(
            b'{"messages":[' + USER + b'],"tools":[',
            b'{"name":"f","input_schema":{}},',
            b'{"name":"f","input_schema":{}}',
            b"]}",
        ),
    ),
    "responses: items": (RESPONSES, _filled(b'{"input":[', USER + b",", USER, b"]}")),
    "responses: wrong parts": (
        RESPONSES,
        _filled(b'{"input":[{"role":"user","content":[', b"0,", b"0", b"]}]}"),
    ),
    "responses: include": (RESPONSES, _filled(b'{"input":"Hi","include":[', b"0,", b"0", b"]}")),
    "responses: tools": (
        RESPONSES,
        _filled(b'{"input":"Hi","tools":[', b'{"type":"function","name":"f"},', b"0", b"]}"),
    ),
    "gemini: contents": (GEMINI, _filled(b'{"contents":[', CONTENT + b",", CONTENT, b"]}")),
    "gemini: wrong parts": (GEMINI, _filled(b'{"contents":[{"parts":[', b"{},", b"0", b"]}]}")),
    "gemini: modalities": (
        GEMINI,
        _filled(
            b'{"contents":[' + CONTENT + b'],"generationConfig":{"responseModalities":[', b"0,", b"0", b"]}}"
        ),
    ),
    "gemini: schema": (
        GEMINI,
        _filled(
            b'{"contents":[' + CONTENT + b'],"generationConfig":{"responseSchema":{"anyOf":[',
            b'{"type":"STRING"},',
            b"{}",
            b"]}}}",
        ),
    ),
    "moderations": ("/v1/moderations", _filled(b'{"input":[', b'"x",', b'"x"', b"]}")),
    "calibrations: prompts": ("/admin/calibrations", _filled(b'{"prompts":[', b'"x",', b"0", b"]}")),
    "mcp: arguments": (
        "/mcp",
        _filled(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"route","arguments":{"x":[',
            b"0,",
            b"0",
            b"]}}}",
        ),
    ),
    "route": ("/v1/route", _turns(b'{"role":"user","content":"x"}')),
    "feedback: scores": (FEEDBACK, _filled(b"[", SCORE + b",", SCORE, b"]")),
    "feedback: wrong": (FEEDBACK, _filled(b"[", b"0,", b"0", b"]")),
    "feedback: lists": (FEEDBACK, _filled(b"[", b"[],", b"[]", b"]")),
    "feedback: long number": (FEEDBACK, _filled(b'{"request_id":"r","score":', b"1", b"", b"}")),
    "feedback: long fraction": (FEEDBACK, _filled(b'{"request_id":"r","score":0.', b"1", b"", b"}")),
    "feedback: fields": (FEEDBACK, _filled(b'{"x":0,', b'"y":[],', b'"z":0', b"}")),
    "admin: aliases": (ADMIN, _filled(b'{"id":"a","aliases":[', b"0,", b"0", b"]}")),
    "admin: lists": (ADMIN, _filled(b'{"id":"a","aliases":[', b"[],", b"[]", b"]}")),
}


async def main(n_bytes: int, names: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="router-hostile-") as folder:
        config = _empty_config(Path(folder))
        async with started_router(Path(folder), config) as (pid, client):
            print(
                f"{'shape':34} {'MB':>5} {'status':>6} {'s':>6} {'CPU s':>6} {'stall s':>7} {'memory MB':>9}"
            )
            for name, (path, body) in SHAPES.items():
                if not names or name in names:
                    print(await _line(client, pid, name, path, body(n_bytes)), flush=True)


async def _line(client: httpx.AsyncClient, pid: int, name: str, path: str, body: bytes) -> str:
    _reset_peak(pid)
    memory_before, cpu_before = memory_mb(pid, "VmRSS"), cpu_s(pid)
    watch = asyncio.create_task(_longest_wait(client))
    await asyncio.sleep(0.2)
    start = time.perf_counter()
    status = "none"
    with suppress(httpx.HTTPError):
        headers = {"Content-Type": "application/json"}
        answer = await client.post(path, content=body, headers=headers, timeout=120.0)
        status = str(answer.status_code)
    took_s = time.perf_counter() - start
    await asyncio.sleep(0.2)
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    stall_s, used_s = max(_waits), cpu_s(pid) - cpu_before
    _waits.clear()
    memory = memory_mb(pid, "VmHWM") - memory_before
    figures = f"{took_s:6.2f} {used_s:6.2f} {stall_s:7.2f} {memory:9.0f}"
    return f"{name:34} {len(body) / 1e6:5.1f} {status:>6} {figures}"


_waits: list[float] = []


async def _longest_wait(client: httpx.AsyncClient) -> None:
    while True:
        start = time.perf_counter()
        try:
            await client.get("/nowhere", timeout=120.0)
        finally:
            _waits.append(time.perf_counter() - start)
        await asyncio.sleep(0.01)


def _empty_config(folder: Path) -> Path:
    path = folder / "config.json"
    path.write_text("{}", "utf-8")
    return path


def _reset_peak(pid: int) -> None:
    """Start the peak of the memory again at its present size."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=19.9, help="size of each body")
    parser.add_argument("--only", nargs="+", default=[], help="names of shapes")
    options = parser.parse_args()
    asyncio.run(main(int(options.megabytes * 1e6), options.only))
