"""Which files of the vendors' suites are run, what of them is not claimed, and which values are amended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Amendment:
    """A value of a test in place of one that the vendor's own service refuses, or that does not exist here.

    Args:
        tests: the tests whose requests it changes, by their names.
        pattern: what it replaces in the file.
    """

    tests: str
    pattern: str
    replacement: str
    why: str


@dataclass(frozen=True)
class SuiteFile:
    """One file of a suite.

    Args:
        unclaimed: the tests that may fail, by their names -> why.
    """

    path: str
    unclaimed: Mapping[str, str] = field(default_factory=dict)
    amendments: tuple[Amendment, ...] = ()

    def reason_against(self, test: str) -> str | None:
        """Why the test is not claimed; None: it is."""
        return next((why for name, why in self.unclaimed.items() if re.fullmatch(name, test)), None)

    def is_amended(self, test: str) -> bool:
        return any(re.fullmatch(amendment.tests, test) for amendment in self.amendments)


@dataclass(frozen=True)
class Suite:
    """The tests of one package.

    Args:
        prefix: what its clients put between the address of the service and their paths.
    """

    package: str
    prefix: str
    files: tuple[SuiteFile, ...]


ALL_PARAMS = r"test_method_create_with_all_params_overload_\d"
STORED = "router_objects.stored_response()"
STRICT = "in its strict mode the package rejects the base64 that it asks for by itself"
NO_STORED_CHATS = "stored chat completions are not offered"
ONE_PLACE = "a response of this id exists nowhere: one is stored before"

OPENAI = Suite(
    "openai",
    "/v1",
    (
        SuiteFile(
            "chat/test_completions.py",
            {r"test_\w+_(retrieve|update|list|list_with_all_params|delete)": NO_STORED_CHATS},
            (
                Amendment(
                    ALL_PARAMS,
                    r"\b(max_tokens|max_completion_tokens)=0,",
                    r"\1=16,",
                    "OpenAI too refuses `max_tokens` 0",
                ),
            ),
        ),
        SuiteFile("test_models.py", {r"test_\w+_delete": "fine-tuned models are not offered"}),
        SuiteFile(
            "test_embeddings.py",
            amendments=(
                Amendment(
                    r"test_(method|raw_response|streaming_response)_create",
                    r'(model="text-embedding-3-small",)(\s*\))',
                    r'\1 encoding_format="float",\2',
                    STRICT,
                ),
            ),
        ),
        SuiteFile(
            "test_completions.py",
            amendments=(
                Amendment(
                    ALL_PARAMS,
                    r" {12}(suffix=\"test.\"|logprobs=0),\n",
                    "",
                    "without `suffix`, and without `echo` and `logprobs` together, which are refused by name",
                ),
            ),
        ),
        SuiteFile("test_moderations.py"),
        SuiteFile(
            "test_responses.py",
            {
                r"test_\w+_retrieve(_with_all_params)?_overload_2": "a stored response is not streamed again",
                r"test_\w+_cancel": "responses in the background are not offered",
                r"test_\w+_compact(_with_all_params)?": "compaction by the service is not offered",
            },
            (
                Amendment(
                    r"test_\w+_create_overload_\d",
                    r"(responses(?:\.with_\w+)?\.create\()(\s*)(?=\)|stream=True,\s*\))",
                    r'\1\2model="gpt-5.4", input="Hi", ',
                    "OpenAI too refuses a request without `input` and `model`",
                ),
                Amendment(
                    ALL_PARAMS,
                    r" {12}(moderation|prompt)=\{\n(?: {16}.*\n)+ {12}\},\n"
                    r"| {12}(background=True|conversation=.*|previous_response_id=.*|max_tool_calls=0),\n",
                    "",
                    "without `background`, `conversation`, `prompt` and `moderation`, which are refused "
                    "by name, and without a response before, which does not exist",
                ),
                Amendment(
                    r"test_\w+_(retrieve(_with_all_params)?_overload_1|delete)",
                    r'"resp_677efb5139a88190b512bc3fef8e535d"',
                    STORED,
                    ONE_PLACE,
                ),
            ),
        ),
        SuiteFile(
            "responses/test_input_items.py",
            amendments=(
                Amendment(
                    r"test_\w+_list(_with_all_params)?",
                    r'response_id="response_id"',
                    f"response_id={STORED}",
                    ONE_PLACE,
                ),
                Amendment(
                    r"test_\w+_list_with_all_params",
                    r'after="after",(\s+)(.*\s+)limit=0',
                    r"\2limit=1",
                    "OpenAI too refuses a limit of 0, and an item that does not exist",
                ),
            ),
        ),
        SuiteFile(
            "responses/test_input_tokens.py",
            amendments=(
                Amendment(
                    r"test_(method|raw_response|streaming_response)_count",
                    r"\.count\(\)",
                    '.count(model="gpt-5.4", input="Hi")',
                    "OpenAI too refuses a request without `input` and `model`",
                ),
                Amendment(
                    r"test_method_count_with_all_params",
                    r' {12}(conversation="string"|previous_response_id="resp_123"),\n',
                    "",
                    "without `conversation`, which is refused by name, and without a response before, which "
                    "does not exist",
                ),
            ),
        ),
    ),
)
ANTHROPIC = Suite(
    "anthropic",
    "",
    (
        SuiteFile("test_messages.py"),
        SuiteFile("test_models.py"),
        SuiteFile("beta/test_messages.py"),
        SuiteFile("beta/test_models.py"),
    ),
)
SUITES = (OPENAI, ANTHROPIC)
