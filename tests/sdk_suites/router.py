"""A router whose models accept everything, under the names that the suites use."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.running import RunningRouter
from tests.sdk_suites.upstream import permissive_upstream

KEY_VARIABLE = "UPSTREAM_KEY"
OF_OPENAI = ("gpt-4o", "gpt-4o-mini", "gpt-5.1", "gpt-5.4", "gpt-5.6-sol", "gpt-3.5-turbo-instruct", "model")
OF_ANTHROPIC = ("claude-opus-5-5", "model_id")


@contextmanager
def permissive_router() -> Iterator[str]:
    """Start it; gives its URL."""
    with (
        permissive_upstream() as upstream,
        tempfile.TemporaryDirectory(prefix="router-sdk-suites-") as folder,
    ):
        config = Path(folder, "suites.json")  # JSON is YAML
        config.write_text(json.dumps(_configuration(upstream)))
        router = RunningRouter(
            Path(folder),
            {
                "DATA_DIR": f"{folder}/data",
                "CONFIG_FILE": str(config),
                "STORE_TEXTS": "true",
                KEY_VARIABLE: "any",
            },
        )
        try:
            router.start()
            yield router.url
        finally:
            router.clean_up()


def _configuration(upstream: str) -> dict[str, object]:
    openai = {"base_url": f"{upstream}/v1", "api_key_env": KEY_VARIABLE}
    return {
        "models": [
            {
                "id": "gpt",
                "provider": "openai",
                "model": "gpt",
                "price": "free",
                "aliases": OF_OPENAI,
                **openai,
            },
            {
                "id": "claude",
                "provider": "anthropic",
                "base_url": upstream,
                "model": "claude",
                "price": "free",
                "aliases": OF_ANTHROPIC,
                "api_key_env": KEY_VARIABLE,
            },
        ],
        "embedding_models": [{"id": "text-embedding-3-small", "model": "embed", "price": "free", **openai}],
        "moderation_models": [{"id": "omni-moderation-latest", "model": "judge", **openai}],
    }
