"""Variables that the router does not read but whose names are almost those of some that it does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from service.settings.environment import Environment
from service.settings.faults import Fault
from service.settings.settings import Settings
from service.settings.suggestions import closest
from service.settings.vendors import VENDORS, vendor_variables

OTHER_VARIABLES = frozenset(
    {
        "CONFIG_FILE",
        "LLM_MODEL",
        "LLM_RETRIES",
        "DATABASE_HOST",
        "DATABASE_PORT",
        "DATABASE_NAME",
        "DATABASE_USER",
        "DATABASE_PASSWORD",
        "POSTGRES_PASSWORD",
        "ROUTER_API_KEY",
        "ROUTER_URL",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
    }
)
# Variables of other programs that resemble ours, or belong to the same vendors.
ORDINARY = frozenset(
    {
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_MODEL",
        "GITHUB_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "HOSTNAME",
        "HOSTTYPE",
        "LOGNAME",
        "OLLAMA_MODELS",
        "OPENAI_ORG_ID",
        "OPENAI_ORGANIZATION",
        "OPENAI_PROJECT",
        "POSTGRES_DB",
        "POSTGRES_HOST",
        "POSTGRES_PORT",
        "POSTGRES_USER",
    }
)
PREFIXES = ("LLM_ROUTER_", "ROUTER_")
# What people call a vendor or a store -> what our variables call it.
OTHER_NAMES = {"CLAUDE": "ANTHROPIC", "GOOGLE": "GEMINI", "DB": "DATABASE", "POSTGRES": "DATABASE"} | {
    "POSTGRESQL": "DATABASE",
    "PG": "DATABASE",
    "LMSTUDIO": "LM_STUDIO",
}
KEY_WORDS = frozenset({"KEY", "APIKEY", "TOKEN", "SECRET"})
ADDRESS_WORDS = frozenset({"URL", "URI", "DSN", "ENDPOINT", "HOST", "ADDRESS", "ADDR", "SERVER"})
ROLE_WORDS = KEY_WORDS | ADDRESS_WORDS | {"API", "BASE"}
# The vendors whose variables are looked for by their parts; of the others only by their letters.
OURS = ("openai", "anthropic", "openrouter", "gemini", "ollama", "lm_studio", "vllm")

LIKENESS = 0.9  # in the environment, which other programs share
LIKENESS_IN_FILE = 0.75  # in `.env`, which is the router's own
SHORTEST = 7  # letters; of shorter names in the environment too many are alike


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that nothing reads, and the one that was probably meant."""

    name: str
    meant: str
    where: str

    @property
    def fault(self) -> Fault:
        return Fault(f"{self.name} is not read; did you mean {self.meant}?", self.where)


def unknown_variables(environment: Environment, settings: Settings | None) -> Iterator[UnknownVariable]:
    """Every variable that is probably a misspelling of one that is not set."""
    keys_of_models = {model.api_key_env for model in settings.models} if settings else set()
    known = {name.upper() for name in Settings.model_fields} | OTHER_VARIABLES | vendor_variables()
    ignored = known | keys_of_models | ORDINARY | {name.lower() for name in OTHER_VARIABLES}
    for name in sorted(environment):
        if name in ignored:
            continue
        meant = _meant(name, known, is_in_file=environment.is_in_file(name))
        if meant is not None and meant not in environment:
            yield UnknownVariable(name, meant, environment.where(name))


def _meant(name: str, known: Collection[str], *, is_in_file: bool) -> str | None:
    upper = name.upper().replace("-", "_")
    for prefix in PREFIXES:
        if (rest := upper.removeprefix(prefix)) != upper and rest in known:
            return rest
    if (meant := closest(name, known, likeness=1.0)) is not None:  # other case or separators
        return meant
    if (meant := _by_parts(upper)) is not None:
        return meant
    if "_" in upper and (longer := sorted(other for other in known if other.startswith(f"{upper}_"))):
        return longer[0]
    if is_in_file:
        return closest(name, known, likeness=LIKENESS_IN_FILE)
    return closest(name, known, likeness=LIKENESS) if len(upper.replace("_", "")) >= SHORTEST else None


def _by_parts(name: str) -> str | None:
    """The variable with the same owner and the same role, a key or an address."""
    owner, role = _parts(name)
    if not owner or role is None:
        return None
    candidates = [*(n.upper() for n in Settings.model_fields), *_variables_of(OURS)]
    return next((other for other in candidates if _parts(other) == (owner, role)), None)


def _variables_of(vendors: Iterable[str]) -> Iterator[str]:
    for vendor in vendors:
        yield from (*VENDORS[vendor].keys, *VENDORS[vendor].addresses)


def _parts(name: str) -> tuple[str, str | None]:
    """Whose variable it is, and whether it is a key or an address: OPENAI_API_KEY -> (OPENAI, key)."""
    words = name.split("_")
    last = words[-1]
    role = "key" if last in KEY_WORDS else "address" if last in ADDRESS_WORDS else None
    while words and words[-1] in ROLE_WORDS:
        words.pop()
    owner = "_".join(words)
    return OTHER_NAMES.get(owner, owner), role
