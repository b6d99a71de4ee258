"""lm-eval, with a task of its own: `local-chat-completions` and few-shot examples."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.features import HELLO
from tests.clients.programs.harness import KEY, URL, Features, report

BIN = Path(sys.argv[1])
FOLDER = Path(tempfile.mkdtemp())
VALUE = 7  # the column of the score in its table
TASK = {
    "task": "greetings",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": str(FOLDER / "data.jsonl")}},
    "output_type": "generate_until",
    "test_split": "test",
    "fewshot_split": "test",
    "doc_to_text": "Q: {{q}}",
    "doc_to_target": "{{a}}",
    "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 32, "temperature": 0},
    "metric_list": [{"metric": "exact_match"}],
}


def answered(*prompts: str, model: str, options: tuple[str, ...] = ()) -> Any:
    """What every sample got: the greeting, or else the output."""
    lines = [json.dumps({"q": prompt, "a": HELLO}) for prompt in prompts]
    (FOLDER / "data.jsonl").write_text("\n".join(lines), "utf-8")
    (FOLDER / "greetings.yaml").write_text(json.dumps(TASK), "utf-8")  # JSON is YAML
    arguments = f"base_url={URL}/v1/chat/completions,model={model},num_concurrent=1,max_retries=3"
    done = subprocess.run(
        [
            str(BIN / "lm_eval"),
            *("--model", "local-chat-completions", "--model_args", arguments, "--tasks", "greetings"),
            *("--include_path", str(FOLDER), "--apply_chat_template", *options),
        ],
        cwd=FOLDER,
        env={
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(FOLDER),
            "HF_HUB_OFFLINE": "1",
            "HF_DATASETS_OFFLINE": "1",
            "OPENAI_API_KEY": KEY,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    rows = [line.split("|") for line in done.stdout.splitlines() if line.startswith("|greetings")]
    return HELLO if [float(row[VALUE]) for row in rows] == [1.0] else done.stdout


def features(model: str) -> Features:
    few_shot = ("--num_fewshot", "1", "--fewshot_as_multiturn")

    return {
        "plain": lambda: answered("Hi", "Good day", model=model, options=few_shot),
        "upstream 429": lambda: answered("fail 1 time with 429", model=model),
        "upstream 500": lambda: answered("fail 1 time with 500", model=model),
    }


report(features, on_every_model=("plain",))
