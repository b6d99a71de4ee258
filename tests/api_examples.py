"""Write `service/api/examples.json`, the examples of `/docs`: `python -m tests.api_examples`.

The calls below run in their order against a router with simulated models, and their answers are kept.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.e2e.running import PATIENCE_S, RunningRouter

FILE = Path(__file__).parents[1] / "service" / "api" / "examples.json"


class Call(NamedTuple):
    """A call, with the path of its documentation where that has a parameter."""

    method: str
    path: str
    body: object = None
    documented: str | None = None
    request_id: str | None = None

    @property
    def operation(self) -> str:
        return f"{self.method} {self.documented or self.path.partition('?')[0]}"


CHAT = {"model": "auto", "messages": [{"role": "user", "content": "Write a haiku about rain."}]}
MESSAGE = {"model": "auto", "max_tokens": 200, "messages": CHAT["messages"]}
RESPONSE = {"model": "auto", "input": "Write a haiku about rain."}
NEWEST = "{newest}"  # in a path: the id of the newest response
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Write a haiku about rain."}]}]}
MODEL = {
    "id": "local-llama",
    "provider": "openai",
    "base_url": "http://127.0.0.1:11434/v1",
    "model": "llama3.2",
    "price": {"input": 0, "output": 0},
    "reason": "Try a local model.",
}
CALIBRATION = {
    "models": ["sim-small", "sim-large"],
    "grader": "contains",
    "max_usd": 0.002,
    "prompts": [
        {"prompt": "What is 6 * 7?", "expected": "42"},
        {"prompt": "What is 7 * 6?", "expected": "42"},
    ],
    "max_answer_tokens": 200,
}
CALIBRATED = f"/admin/calibrations/{NEWEST}"
KEY = {"name": "operators", "scopes": ["inference", "feedback", "read", "admin"], "expires_in_days": 90}
ONE_KEY = f"/admin/keys/{NEWEST}"
ONE_CALIBRATION = "/admin/calibrations/{calibration_id}"


def _stored(path: str) -> tuple[Call, ...]:
    """The calls that read the newest response, and delete it."""
    one, documented = f"{path}/{NEWEST}", f"{path}/{{response_id}}"
    return (
        Call("GET", one, documented=documented),
        Call("GET", f"{one}/input_items", documented=f"{documented}/input_items"),
        Call("DELETE", one, documented=documented),
    )


CALLS = (
    Call("POST", "/chat/completions", CHAT, request_id="example-1"),
    Call("POST", "/v1/chat/completions", CHAT, request_id="example-2"),
    Call("POST", "/v1/responses", RESPONSE, request_id="example-5"),
    *_stored("/v1/responses"),
    Call("POST", "/responses", RESPONSE, request_id="example-6"),
    Call("POST", "/v1/responses/input_tokens", RESPONSE),
    Call("POST", "/responses/input_tokens", RESPONSE),
    *_stored("/responses"),
    Call("POST", "/v1/chat", {"prompt": "Say hello."}, request_id="example-7"),
    Call("POST", "/v1/completions", {"model": "auto", "prompt": "Say hello."}),
    Call("POST", "/v1/messages", MESSAGE, request_id="example-3"),
    Call("POST", "/v1/messages/count_tokens", {"model": "auto", "messages": CHAT["messages"]}),
    Call("POST", "/v1/messages/chat-template", {"model": "auto", "messages": CHAT["messages"]}),
    Call(
        "POST",
        "/v1/embeddings",
        {"model": "router-minilm", "input": "Leek soup", "encoding_format": "base64"},
    ),
    *(
        Call("POST", f"{version}/models/auto:{method}", GEMINI, f"{version}/models/{{model}}:{method}")
        for version in ("/v1beta", "/v1")
        for method in ("generateContent", "streamGenerateContent")
    ),
    *(
        Call(
            "POST", f"{version}/models/auto:countTokens", GEMINI, f"{version}/models/{{model_id}}:countTokens"
        )
        for version in ("/v1beta", "/v1")
    ),
    *(
        Call(
            "POST",
            f"{version}/models/router-minilm:{method}",
            body,
            f"{version}/models/{{model_id}}:{method}",
        )
        for version in ("/v1beta", "/v1")
        for method, body in (
            ("embedContent", {"content": GEMINI["contents"][0]}),
            ("batchEmbedContents", {"requests": [{"content": GEMINI["contents"][0]}]}),
        )
    ),
    Call("GET", "/v1beta/models"),
    Call("GET", "/v1beta/models/sim-small", documented="/v1beta/models/{model_id}"),
    Call("POST", "/v1/route", CHAT),
    Call("POST", "/feedback", {"request_id": "example-1", "score": 0.9}),
    Call("GET", "/requests/example-1", documented="/requests/{request_id}"),
    Call("GET", "/requests?since=1d&limit=2"),
    Call("GET", "/metrics/example-1", documented="/metrics/{request_id}"),
    Call("DELETE", "/feedback/example-1", documented="/feedback/{request_id}"),
    Call("POST", "/v1/chat/completions", {**CHAT, "router": {"session_id": "tour"}}, "", "example-4"),
    Call("DELETE", "/feedback?session_id=tour"),
    Call("GET", "/v1/stats?days=7"),
    Call("GET", "/health"),
    Call("GET", "/ready"),
    Call("GET", "/metrics"),
    Call("GET", "/backends/status"),
    Call("GET", "/cache/stats"),
    Call("POST", "/cache/clear"),
    Call("GET", "/v1/models"),
    Call("GET", "/v1/models/sim-small", documented="/v1/models/{model_id}"),
    Call("POST", "/admin/models", MODEL),
    Call("PATCH", "/admin/models/local-llama", {"state": "draining"}, "/admin/models/{model_id}"),
    Call("GET", "/admin/models"),
    Call("DELETE", "/admin/models/local-llama", documented="/admin/models/{model_id}"),
    Call("POST", "/admin/calibrations", CALIBRATION),
    Call("GET", "/admin/calibrations"),
    Call("POST", CALIBRATED, {"max_usd": 0.5}, ONE_CALIBRATION),
    Call("GET", CALIBRATED, documented=ONE_CALIBRATION),
    Call("DELETE", CALIBRATED, documented=ONE_CALIBRATION),
    Call("POST", "/admin/keys", KEY),  # from here on the router asks for it
    Call("GET", "/admin/keys"),
    Call("POST", f"{ONE_KEY}/rotate", {"overlap_hours": 24}, "/admin/keys/{key}/rotate"),
    Call("DELETE", ONE_KEY, documented="/admin/keys/{key}"),
)
MASKED = "rk-" + "x" * 43
VENDOR = {"provider": "vendor"}
LOGIN = {
    "provider": "vendor",
    "state": "logged_in",
    "problem": None,
    "expires_at": "2026-11-20T14:00:00+00:00",
    "obtained_at": "2026-11-20T13:00:00+00:00",
    "is_refreshable": True,
    "scopes": ["models.call"],
    "models": ["vendor-large"],
    "log_in_at": "/oauth/authorize?provider=vendor",
}
LOGGED_OUT = {
    **LOGIN,
    "state": "logged_out",
    "expires_at": None,
    "obtained_at": None,
    "is_refreshable": False,
}
# What the router cannot answer without a provider: an example of what is answered with one.
OF_PROVIDERS: dict[str, dict[str, Any]] = {
    "POST /oauth/authorize": {
        "body": VENDOR,
        "answer": {
            "provider": "vendor",
            "authorize_url": "https://login.vendor.example/authorize?response_type=code&client_id=my-router",
            "redirect_url": "http://127.0.0.1:8080/oauth/callback",
            "expires_at": "2026-11-20T13:10:00+00:00",
        },
    },
    "GET /oauth/status": {"answer": {"providers": [LOGIN]}},
    "POST /oauth/refresh": {"body": VENDOR, "answer": LOGIN},
    "POST /oauth/logout": {
        "body": VENDOR,
        "answer": {
            **LOGGED_OUT,
            "problem": "vendor is not logged in to: log in at /oauth/authorize?provider=vendor",
            "not_revoked": None,
        },
    },
    "POST /v1/moderations": {
        "body": {"model": "omni-moderation-latest", "input": "Write a haiku about rain."},
        "answer": {
            "id": "modr-1",
            "model": "omni-moderation-latest",
            "results": [
                {
                    "flagged": False,
                    "categories": {"violence": False},
                    "category_scores": {"violence": 0.0001},
                    "category_applied_input_types": {"violence": ["text"]},
                }
            ],
        },
    },
}
N_LINES_OF_TEXT = 12
N_NUMBERS = 4  # of a vector


def examples(url: str) -> dict[str, dict[str, Any]]:
    """The request and the answer of each operation. Every call must succeed."""
    found = dict(OF_PROVIDERS)
    newest = ""
    with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
        for call in CALLS:
            headers = {} if call.request_id is None else {"X-Request-ID": call.request_id}
            response = client.request(
                call.method, call.path.replace(NEWEST, newest), json=call.body, headers=headers
            )
            assert response.is_success, f"{call.method} {call.path}: {response.text}"
            if response.text.startswith('{"id":"resp_') or call.path in {
                "/admin/calibrations",
                "/admin/keys",
            }:
                newest = _newest_id(response.json())
            if call.method == "POST" and call.path.startswith("/admin/calibrations"):
                _wait_for_end(client, CALIBRATED.replace(NEWEST, newest))
            if call.operation == "POST /admin/keys":
                client.headers["Authorization"] = f"Bearer {response.json()['key']}"
            is_json = response.headers["content-type"].startswith("application/json")
            text = "".join(response.text.splitlines(keepends=True)[:N_LINES_OF_TEXT])
            example: dict[str, Any] = {} if call.body is None else {"body": call.body}
            found.setdefault(
                call.operation, example | {"answer": _short(response.json()) if is_json else text}
            )
    return found


def _newest_id(answer: dict[str, Any]) -> str:
    """The id of a response or a calibration, or of the first in a list."""
    one = answer["data"][0] if "data" in answer else answer
    return str(one["id"])


def _wait_for_end(client: httpx.Client, path: str) -> None:
    while client.get(path).raise_for_status().json()["state"] == "running":
        pass


def _short(value: Any) -> Any:
    """The value with the first numbers of each vector, and no key."""
    if isinstance(value, dict):
        is_key = str(value.get("key")).startswith("rk-")
        return {name: _short(item) for name, item in value.items()} | ({"key": MASKED} if is_key else {})
    if isinstance(value, list):
        is_vector = len(value) > N_NUMBERS and all(isinstance(item, float) for item in value)
        return value[:N_NUMBERS] if is_vector else [_short(item) for item in value]
    return value


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="router-examples-") as folder:
        router = RunningRouter(Path(folder), {"DATA_DIR": f"{folder}/data", "STORE_TEXTS": "true"})
        try:
            router.start()
            FILE.write_text(json.dumps(examples(router.url), indent=1, ensure_ascii=False) + "\n", "utf-8")
        finally:
            router.clean_up()


if __name__ == "__main__":
    main()
