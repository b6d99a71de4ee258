"""What examples in a prompt (few-shot) cost the learner.

    .venv/bin/python -m benchmarks.few_shot [--requests 200] [--seed 7]

The same recorded prompts are sent to three routers, each new: alone, after two examples that they all share,
and after one example whose answer the router gave. Every answer is rated with its recorded
score. If requests that share their examples counted as one conversation, all but the first would stay on the
model drawn for the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections import Counter
from pathlib import Path

import httpx

from benchmarks.latency.router import started_router
from service.commands.jobs.replay.demo import DEMO_FILE
from service.commands.jobs.replay.outcomes import Outcomes, read_outcomes
from service.commands.jobs.replay.tariff import router_settings
from service.commands.jobs.replay.upstream import RecordedUpstream
from service.domain.basics import Json

SYSTEM: Json = {"role": "system", "content": "Answer in the style of the examples."}
EXAMPLES: tuple[Json, ...] = (
    {"role": "user", "content": "What is the capital of Italy?"},
    {"role": "assistant", "content": "Rome"},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
)
FORMS = ("zero-shot", "few-shot", "own answer")


async def main(n: int, seed: int) -> None:
    outcomes = read_outcomes(DEMO_FILE)
    rows = random.Random(seed).sample(range(len(outcomes.prompts)), min(n, len(outcomes.prompts)))
    best = float(outcomes.scores[rows].max(axis=1).mean())
    fixed = {model: float(outcomes.scores[rows, i].mean()) for i, model in enumerate(outcomes.models)}
    print(f"{len(rows)} prompts; best model for each {best:.3f}, always one {_shown(fixed)}")
    for form in FORMS:
        await _play(outcomes, rows, form)


async def _play(outcomes: Outcomes, rows: list[int], form: str) -> None:
    """Send all prompts in one form to a new router, and print what they reached."""
    with tempfile.TemporaryDirectory(prefix="router-few-shot-") as folder:
        async with RecordedUpstream(outcomes) as upstream:
            config = _config(Path(folder), router_settings(outcomes, upstream.base_url))
            async with started_router(Path(folder), config) as (_, client):
                examples = list(EXAMPLES) if form == "few-shot" else []
                if form == "own answer":
                    examples = await _answered(client, outcomes.prompts[rows[0]])
                scores, models, decisions = [], Counter[str](), Counter[str]()
                for row in rows:
                    prompt: Json = {"role": "user", "content": outcomes.prompts[row]}
                    answer = await _ask(client, [SYSTEM, *examples, prompt])
                    model = answer.headers["x-router-model"]
                    scores.append(float(outcomes.scores[row, outcomes.models.index(model)]))
                    models[model] += 1
                    decisions[answer.headers["x-router-decision"]] += 1
                    rating = {"request_id": answer.headers["x-request-id"], "score": scores[-1]}
                    (await client.post("/feedback", json=rating)).raise_for_status()
    mean, late = sum(scores) / len(scores), scores[len(scores) // 2 :]
    print(f"{form:12} {mean:.3f}, second half {sum(late) / len(late):.3f} {dict(decisions)} {dict(models)}")


def _config(folder: Path, settings: Json) -> Path:
    path = folder / "config.json"  # JSON is YAML
    path.write_text(json.dumps(settings), "utf-8")
    return path


async def _answered(client: httpx.AsyncClient, prompt: str) -> list[Json]:
    """An example made of the router's own answer, as DSPy makes them."""
    question: Json = {"role": "user", "content": prompt}
    answer = (await _ask(client, [SYSTEM, question])).json()["choices"][0]["message"]["content"]
    return [question, {"role": "assistant", "content": answer}]


async def _ask(client: httpx.AsyncClient, messages: list[Json]) -> httpx.Response:
    response = await client.post("/v1/chat/completions", json={"messages": messages})
    return response.raise_for_status()


def _shown(means: dict[str, float]) -> str:
    return ", ".join(f"{model} {mean:.3f}" for model, mean in means.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    asyncio.run(main(options.requests, options.seed))
