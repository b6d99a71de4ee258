"""The models to choose from, with their prices and the sums of what was observed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Literal

from service.domain.basics import EXACT
from service.domain.credentials import CLIENT, Credential
from service.domain.prompt import Prompt
from service.domain.value import value

STREAM_SILENCE_S = 60.0
CONFIGURED = "configured"  # source of a prior quality that the operator set


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None  # for prompt tokens that the provider writes into its cache

    @property
    def is_free(self) -> bool:
        return not any((self.input, self.output, self.cached_input, self.cache_write))


# configured: by the operator, in the file or at runtime; provider: its server's own list; table: LiteLLM's
# table; name: that of a free variant or of a server of one's own.
PriceSource = Literal["configured", "provider", "table", "name"]
FREE = Price(Decimal(0), Decimal(0))
# What an arm of unknown price is assumed to cost while no arm's price is known: as much as a strong model.
DEAR = Price(Decimal(10), Decimal(50))


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of several places where an arm's model is served; the answers are the same.

    Args:
        name: of the place, unique within its arm.
        weight: its part of the calls, in relation to the other deployments'.
        timeout_s: as the arm's.
    """

    name: str
    provider: str
    model: str
    base_url: str | None = None
    api_key_env: str | None = None
    weight: float = 1.0
    timeout_s: float | None = None

    @property
    def key_name(self) -> str | None:
        """The name of its key, as an arm's."""
        return self.api_key_env


@dataclass(frozen=True, slots=True)
class Arm:
    """One choosable model with its settings.

    The endpoint of an arm with several deployments is that of the first, unless `deployment` names another.
    """

    arm_id: str
    provider: str  # openai: any OpenAI-compatible upstream; anthropic; litellm; simulator
    model: str  # its name at the provider
    base_url: str | None = None
    api_key_env: str | None = None
    aliases: tuple[str, ...] = ()
    price: Price | None = None  # None: nobody knows it
    price_source: PriceSource | None = None  # of `price`
    assumed_price: Price = DEAR  # for choosing, while `price` is not known
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()  # empty: not known
    lacks: frozenset[str] = frozenset()  # capabilities that it is known to lack
    data_use: frozenset[str] = frozenset()  # what its provider promises
    extra_fields: frozenset[str] = (
        frozenset()
    )  # request fields that its server accepts, whatever the tables say
    drop: frozenset[str] = frozenset()  # request fields that its server does not get
    rename: Mapping[str, str] = field(
        default_factory=dict, hash=False
    )  # request fields, by the client's name
    set_fields: Mapping[str, Any] = field(default_factory=dict, hash=False)  # in every request
    prior_quality: float | None = None
    prior_mass: float | None = None
    timeout_s: float | None = None  # longest silence of its provider; None: see `patience_s`
    chat_template: str | None = None  # Jinja, as in a tokenizer's configuration
    prior_source: str | None = None  # of prior_quality: CONFIGURED, or the date of the public table
    price_version: int = 0  # number of price changes at runtime
    prompt: Prompt | None = None  # put before its requests: it is a variant
    variant_of: str | None = None  # id of the arm that is the same model without the prompt
    default_temperature: float | None = None  # of requests that give none; None: that of all arms
    default_max_tokens: int | None = None  # the same
    deployments: tuple[Deployment, ...] = ()  # empty: its own endpoint is the only one
    deployment: str | None = None  # the one that a call goes to; None: not chosen, or there is only one
    auth: str | None = None  # the entry of `providers_auth` whose token is its key
    takes_client_key: bool = False  # its key is the caller's own
    key: Credential | None = field(default=None, compare=False, repr=False)  # of one call only

    @property
    def key_name(self) -> str | None:
        """The name of its key, which is no secret; None: it needs none, or LiteLLM finds one."""
        if self.takes_client_key:
            return f"api_key: {CLIENT}"
        return self.api_key_env if self.auth is None else f"auth: {self.auth}"

    @property
    def has_standing_key(self) -> bool:
        """Whether it can be called at any time with a key of the environment, or without a key."""
        return self.auth is None and not self.takes_client_key

    @property
    def expected_price(self) -> Price:
        """The price to choose by: the arm's own, or the assumed one if nobody knows it."""
        return self.assumed_price if self.price is None else self.price

    @property
    def n_own_prompt_tokens(self) -> int:
        """Tokens of the prompt that is put before its requests, an estimate."""
        return 0 if self.prompt is None else self.prompt.n_tokens

    @property
    def endpoints(self) -> tuple[Arm, ...]:
        """The arm at each of its deployments; the arm itself if it has only one place, or goes to one."""
        if not self.deployments or self.deployment is not None:
            return (self,)
        return tuple(self.at(deployment) for deployment in self.deployments)

    def at(self, deployment: Deployment) -> Arm:
        """The arm at this deployment."""
        return replace(
            self,
            provider=deployment.provider,
            model=deployment.model,
            base_url=deployment.base_url,
            api_key_env=deployment.api_key_env,
            timeout_s=deployment.timeout_s,
            deployment=deployment.name,
        )

    @property
    def is_prior_relative(self) -> bool:
        """Whether its prior quality is from the public table: measured, but on other requests than these."""
        return self.prior_quality is not None and self.prior_source != CONFIGURED

    def patience_s(self, *, stream: bool) -> float | None:
        """Longest time in which its provider may send nothing, seconds; None: what the request has left.

        A model that thinks for minutes sends nothing before a whole answer, but no stream is silent so long.
        """
        return STREAM_SILENCE_S if self.timeout_s is None and stream else self.timeout_s


@value
class ArmSums:
    """Everything observed of one arm of one tenant, as sums that add.

    Decimal, so that adding and subtracting in any order gives the same sums to the last digit.
    """

    n: Decimal = Decimal(0)  # total weight of scores and signals
    reward_sum: Decimal = Decimal(0)
    n_outcomes: int = 0  # answers that arrived
    latency_s_sum: Decimal = Decimal(0)
    cost_usd_sum: Decimal = Decimal(0)
    n_unpriced: int = 0  # answers whose dollars nobody knows; the sum is without them
    cost_usd_squares: Decimal = Decimal(0)  # sum of the squares of each answer's dollars, where known
    latency_s_squares: Decimal = Decimal(0)  # sum of the squares of each answer's seconds

    @property
    def n_priced(self) -> int:
        return self.n_outcomes - self.n_unpriced

    def __add__(self, other: ArmSums) -> ArmSums:
        return ArmSums(
            EXACT.add(self.n, other.n),
            EXACT.add(self.reward_sum, other.reward_sum),
            self.n_outcomes + other.n_outcomes,
            EXACT.add(self.latency_s_sum, other.latency_s_sum),
            EXACT.add(self.cost_usd_sum, other.cost_usd_sum),
            self.n_unpriced + other.n_unpriced,
            EXACT.add(self.cost_usd_squares, other.cost_usd_squares),
            EXACT.add(self.latency_s_squares, other.latency_s_squares),
        )

    def __neg__(self) -> ArmSums:
        """The sums that cancel these when added."""
        return ArmSums(
            self.n.copy_negate(),
            self.reward_sum.copy_negate(),
            -self.n_outcomes,
            self.latency_s_sum.copy_negate(),
            self.cost_usd_sum.copy_negate(),
            -self.n_unpriced,
            self.cost_usd_squares.copy_negate(),
            self.latency_s_squares.copy_negate(),
        )
