"""The vendors of models: how each is called, where, and which variables hold its key and its address."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from service.settings.base_urls import Dialect, base_url


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor.

    Args:
        provider: the adapter that calls it.
        keys: variables that hold its key, the preferred one first.
        needs: further variables, which LiteLLM reads itself; one of each group must be set.
        reads: variables that LiteLLM reads if they are set.
        base_url: its address; None: LiteLLM knows it, or a variable gives it.
        addresses: variables that replace `base_url`, the preferred one first.
        dialect: how its addresses are written.
        is_on_openrouter: OpenRouter knows its models by the same prefix.
    """

    provider: Literal["openai", "anthropic", "litellm"] = "litellm"
    keys: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    reads: tuple[str, ...] = ()
    base_url: str | None = None
    addresses: tuple[str, ...] = ()
    dialect: Dialect = "litellm"
    is_on_openrouter: bool = False

    @property
    def is_own_server(self) -> bool:
        """Whether its models run on the operator's own machines, for which nobody sends a bill."""
        return self.provider == "openai" and self.base_url is None

    @property
    def variables(self) -> frozenset[str]:
        """Every variable that the vendor's models may need."""
        needed = (name for group in self.needs for name in group)
        return frozenset((*self.keys, *self.addresses, *self.reads, *needed))

    def key_in(self, environ: Mapping[str, str]) -> str | None:
        """The first variable that holds a key."""
        return next((name for name in self.keys if environ.get(name)), None)

    def address_in(self, environ: Mapping[str, str]) -> str | None:
        """The vendor's address: of the first variable that is set, else its own.

        Raises:
            ValueError: the variable holds no base URL; the message names it.
        """
        variable = next((name for name in self.addresses if environ.get(name)), None)
        if variable is None:
            return self.base_url
        written = environ[variable]
        try:
            return base_url(_ollama_address(written) if variable == OLLAMA_HOST else written, self.dialect)
        except ValueError as error:
            raise ValueError(f"{variable} {error}") from error

    def missing_in(self, environ: Mapping[str, str]) -> str | None:
        """The variables that must still be set, in words; None: the vendor's models can be called."""
        if self.provider == "openai" and any(environ.get(name) for name in self.addresses):
            return None  # a server of one's own needs no key
        groups = [group for group in (self._credential, *self.needs) if group]
        absent = [" or ".join(group) for group in groups if not any(map(environ.get, group))]
        return ", ".join(absent) or None

    @property
    def _credential(self) -> tuple[str, ...]:
        return self.addresses[:1] if self.is_own_server else self.keys


OLLAMA_HOST = "OLLAMA_HOST"
OLLAMA_PORT = 11434


def _own_server(*addresses: str, key: str, dialect: Dialect = "openai") -> Vendor:
    return Vendor("openai", keys=(key,), addresses=addresses, dialect=dialect)


def _with_key(*keys: str, is_on_openrouter: bool = False) -> Vendor:
    return Vendor(keys=keys, is_on_openrouter=is_on_openrouter)


_AWS = Vendor(
    needs=(
        (
            "AWS_ACCESS_KEY_ID",
            "AWS_BEARER_TOKEN_BEDROCK",
            "AWS_PROFILE",
            "AWS_ROLE_ARN",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ),
        ("AWS_REGION_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"),
    ),
    reads=("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
_VLLM = _own_server("VLLM_BASE_URL", "HOSTED_VLLM_API_BASE", key="HOSTED_VLLM_API_KEY")
_LM_STUDIO = _own_server("LM_STUDIO_BASE_URL", "LM_STUDIO_API_BASE", key="LM_STUDIO_API_KEY")
_TOGETHER = _with_key("TOGETHERAI_API_KEY", "TOGETHER_API_KEY", "TOGETHER_AI_API_KEY")
_FIREWORKS = _with_key("FIREWORKS_AI_API_KEY", "FIREWORKS_API_KEY", "FIREWORKSAI_API_KEY")

OPENROUTER = Vendor(
    "openai",
    keys=("OPENROUTER_API_KEY",),
    base_url="https://openrouter.ai/api/v1",
    addresses=("OPENROUTER_BASE_URL", "OPENROUTER_API_BASE"),
    dialect="openai",
)

VENDORS: Mapping[str, Vendor] = MappingProxyType(
    {
        "openai": Vendor(
            "openai",
            keys=("OPENAI_API_KEY",),
            base_url="https://api.openai.com/v1",
            addresses=("OPENAI_BASE_URL", "OPENAI_API_BASE"),
            dialect="openai",
            is_on_openrouter=True,
        ),
        "anthropic": Vendor(
            "anthropic",
            keys=("ANTHROPIC_API_KEY",),
            base_url="https://api.anthropic.com",
            addresses=("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
            dialect="anthropic",
            is_on_openrouter=True,
        ),
        "openrouter": OPENROUTER,
        "gemini": _with_key("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        # --- servers of one's own
        "ollama": _own_server(
            "OLLAMA_BASE_URL", "OLLAMA_API_BASE", OLLAMA_HOST, key="OLLAMA_API_KEY", dialect="ollama"
        ),
        "lm_studio": _LM_STUDIO,
        "lmstudio": _LM_STUDIO,
        "vllm": _VLLM,
        "hosted_vllm": _VLLM,
        "llamafile": _own_server("LLAMAFILE_API_BASE", key="LLAMAFILE_API_KEY"),
        "litellm_proxy": _own_server("LITELLM_PROXY_API_BASE", key="LITELLM_PROXY_API_KEY"),
        # --- clouds
        "azure": Vendor(
            keys=("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
            needs=(("AZURE_API_BASE",), ("AZURE_API_VERSION",)),
        ),
        "azure_ai": Vendor(keys=("AZURE_AI_API_KEY",), needs=(("AZURE_AI_API_BASE",),)),
        "bedrock": _AWS,
        "sagemaker": _AWS,
        "vertex_ai": Vendor(
            needs=(
                ("VERTEXAI_PROJECT", "VERTEX_PROJECT"),
                ("VERTEXAI_LOCATION", "VERTEX_LOCATION"),
            ),
            reads=("GOOGLE_APPLICATION_CREDENTIALS", "VERTEXAI_CREDENTIALS"),
        ),
        "watsonx": Vendor(
            keys=("WATSONX_API_KEY", "WATSONX_APIKEY", "WX_API_KEY"),
            needs=(("WATSONX_URL", "WATSONX_API_BASE"), ("WATSONX_PROJECT_ID",)),
        ),
        "databricks": Vendor(keys=("DATABRICKS_API_KEY",), needs=(("DATABRICKS_API_BASE",),)),
        "cloudflare": Vendor(
            keys=("CLOUDFLARE_API_KEY",), needs=(("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_BASE"),)
        ),
        "snowflake": Vendor(keys=("SNOWFLAKE_JWT",), needs=(("SNOWFLAKE_ACCOUNT_ID",),)),
        # --- vendors with one key
        "ai21": _with_key("AI21_API_KEY", is_on_openrouter=True),
        "aiml": _with_key("AIML_API_KEY"),
        "anyscale": _with_key("ANYSCALE_API_KEY"),
        "baseten": _with_key("BASETEN_API_KEY"),
        "cerebras": _with_key("CEREBRAS_API_KEY"),
        "codestral": _with_key("CODESTRAL_API_KEY"),
        "cohere": _with_key("COHERE_API_KEY", "CO_API_KEY", is_on_openrouter=True),
        "cohere_chat": _with_key("COHERE_API_KEY", "CO_API_KEY"),
        "cometapi": _with_key("COMETAPI_KEY"),
        "dashscope": _with_key("DASHSCOPE_API_KEY"),
        "deepinfra": _with_key("DEEPINFRA_API_KEY"),
        "deepseek": _with_key("DEEPSEEK_API_KEY", is_on_openrouter=True),
        "edenai": _with_key("EDENAI_API_KEY"),
        "featherless_ai": _with_key("FEATHERLESS_AI_API_KEY"),
        "fireworks_ai": _FIREWORKS,
        "friendliai": _with_key("FRIENDLIAI_API_KEY", "FRIENDLI_TOKEN"),
        "galadriel": _with_key("GALADRIEL_API_KEY"),
        "gigachat": _with_key("GIGACHAT_API_KEY"),
        "github": _with_key("GITHUB_API_KEY"),
        "gradient_ai": _with_key("GRADIENT_AI_API_KEY"),
        "groq": _with_key("GROQ_API_KEY"),
        "heroku": Vendor(keys=("HEROKU_API_KEY",), needs=(("HEROKU_API_BASE",),)),
        "huggingface": _with_key("HF_TOKEN", "HUGGINGFACE_API_KEY"),
        "hyperbolic": _with_key("HYPERBOLIC_API_KEY"),
        "inception": _with_key("INCEPTION_API_KEY", is_on_openrouter=True),
        "lambda_ai": _with_key("LAMBDA_API_KEY"),
        "maritalk": _with_key("MARITALK_API_KEY"),
        "meta_llama": _with_key("LLAMA_API_KEY"),
        "minimax": _with_key("MINIMAX_API_KEY", is_on_openrouter=True),
        "mistral": _with_key("MISTRAL_API_KEY"),
        "modelscope": _with_key("MODELSCOPE_API_KEY"),
        "moonshot": _with_key("MOONSHOT_API_KEY"),
        "morph": _with_key("MORPH_API_KEY", is_on_openrouter=True),
        "nebius": _with_key("NEBIUS_API_KEY"),
        "nlp_cloud": _with_key("NLP_CLOUD_API_KEY"),
        "novita": _with_key("NOVITA_API_KEY"),
        "nscale": _with_key("NSCALE_API_KEY"),
        "nvidia_nim": _with_key("NVIDIA_NIM_API_KEY"),
        "ovhcloud": _with_key("OVHCLOUD_API_KEY"),
        "perplexity": _with_key("PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY", is_on_openrouter=True),
        "predibase": _with_key("PREDIBASE_API_KEY"),
        "replicate": _with_key("REPLICATE_API_KEY", "REPLICATE_API_TOKEN"),
        "sambanova": _with_key("SAMBANOVA_API_KEY"),
        "tencent": _with_key("TENCENT_API_KEY"),
        "together_ai": _TOGETHER,
        "v0": _with_key("V0_API_KEY"),
        "vercel_ai_gateway": _with_key("VERCEL_AI_GATEWAY_API_KEY"),
        "volcengine": _with_key("VOLCENGINE_API_KEY", "ARK_API_KEY"),
        "wandb": _with_key("WANDB_API_KEY"),
        "xai": _with_key("XAI_API_KEY"),
        "zai": _with_key("ZAI_API_KEY"),
    }
)
# Names without a vendor, by their beginning.
BARE_NAMES: Mapping[str, str] = MappingProxyType(
    {"gpt-": "openai", "chatgpt-": "openai", "o1": "openai", "o3": "openai", "o4": "openai"}
    | {"claude-": "anthropic", "gemini-": "gemini", "mistral-": "mistral", "command-": "cohere"}
    | {"deepseek-": "deepseek", "grok-": "xai"}
)


def vendor_of_key(variable: str | None) -> Vendor | None:
    """The vendor whose key a variable holds."""
    return next((vendor for vendor in VENDORS.values() if variable in vendor.keys), None)


def vendor_variables() -> frozenset[str]:
    """Every variable with a key, an address or another credential of a vendor."""
    return frozenset(name for vendor in VENDORS.values() for name in vendor.variables)


def variables_of_litellm(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables that LiteLLM reads from the process itself, with their values."""
    for vendor in VENDORS.values():
        for name in sorted(vendor.variables - {*vendor.keys}):
            if vendor.provider == "litellm" and environ.get(name):
                yield name, environ[name]


def _ollama_address(written: str) -> str:
    """The address that OLLAMA_HOST, which is written for Ollama's server, gives to a client."""
    scheme, has_scheme, rest = written.rpartition("://")
    authority, slash, path = rest.partition("/")
    host, has_port, port = authority.rpartition(":")
    if not has_port or authority.endswith("]"):
        host, port = authority, "" if has_scheme else str(OLLAMA_PORT)
    if host in ("", "0.0.0.0", "[::]"):  # noqa: S104  # compared, not listened on
        host = "127.0.0.1"
    end = f":{port}" if port else ""
    return f"{scheme or 'http'}://{host}{end}{slash}{path}"
