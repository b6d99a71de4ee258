"""The models to choose from, with their prices and the sums of what was observed."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from service.domain.basics import EXACT


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


FREE = Price(Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Arm:
    """One choosable model with its settings."""

    arm_id: str
    provider: str  # openai: any OpenAI-compatible upstream; anthropic; litellm; simulator
    model: str  # its name at the provider
    base_url: str | None = None
    api_key_env: str | None = None
    aliases: tuple[str, ...] = ()
    price: Price = Price(Decimal(0), Decimal(0))
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()  # empty: not known
    lacks: frozenset[str] = frozenset()  # capabilities that it is known to lack
    data_use: frozenset[str] = frozenset()  # what its provider promises
    extra_fields: frozenset[str] = frozenset()  # request fields that its server accepts beyond OpenAI's
    prior_quality: float | None = None
    prior_mass: float | None = None
    timeout_s: float = 60.0
    chat_template: str | None = None  # Jinja, as in a tokenizer's configuration
    prior_source: str | None = None  # of prior_quality: "configured", or the date of the public table
    price_version: int = 0  # number of price changes at runtime


@dataclass(frozen=True, slots=True)
class ArmSums:
    """Everything observed of one arm of one tenant, as sums that add.

    Decimal, so that adding and subtracting in any order gives the same sums to the last digit.
    """

    n: Decimal = Decimal(0)  # total weight of scores and signals
    reward_sum: Decimal = Decimal(0)
    n_outcomes: int = 0  # answers that arrived
    latency_s_sum: Decimal = Decimal(0)
    cost_usd_sum: Decimal = Decimal(0)

    def __add__(self, other: ArmSums) -> ArmSums:
        return ArmSums(
            EXACT.add(self.n, other.n),
            EXACT.add(self.reward_sum, other.reward_sum),
            self.n_outcomes + other.n_outcomes,
            EXACT.add(self.latency_s_sum, other.latency_s_sum),
            EXACT.add(self.cost_usd_sum, other.cost_usd_sum),
        )

    def __neg__(self) -> ArmSums:
        """The sums that cancel these when added."""
        return ArmSums(
            self.n.copy_negate(),
            self.reward_sum.copy_negate(),
            -self.n_outcomes,
            self.latency_s_sum.copy_negate(),
            self.cost_usd_sum.copy_negate(),
        )
