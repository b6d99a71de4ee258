"""Models that answer no chats, but embeddings or moderations; the router relays requests for them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from service.domain.arm import Arm


@dataclass(frozen=True, slots=True)
class RelayedModel:
    """One model, with the places where it is deployed.

    All deployments give the same answers: for embeddings, vectors of one space.

    Args:
        deployments: in the order in which they are asked; empty: the router's own encoder.
        dimensions: numbers in one of its vectors, if a request does not set them; None: not known.
        max_input_tokens: longest input; None: not known.
    """

    model_id: str
    deployments: tuple[Arm, ...] = ()
    aliases: tuple[str, ...] = ()
    dimensions: int | None = None
    max_input_tokens: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return self.model_id, *self.aliases


@dataclass(frozen=True, slots=True)
class RelayedModels:
    """The models of the configuration, and why others were left out."""

    embedding: tuple[RelayedModel, ...] = ()
    moderation: tuple[RelayedModel, ...] = ()
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Relayed:
    """What came of a request for a relayed model.

    Args:
        cost_usd: US dollars; None: nobody knows them.
    """

    model_id: str
    status: str  # ok, or the class of the error
    n_tokens: int = 0
    cost_usd: Decimal | None = None
