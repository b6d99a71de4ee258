"""Answers requests for moderations, by a model of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from service.domain.arm import Arm
from service.domain.basics import AUTO, Json
from service.domain.caller import Caller
from service.domain.moderation import ModerationRequest
from service.domain.ports import ModerationClient
from service.domain.relayed_model import Relayed, RelayedModel
from service.errors import NotConfigured, Rate, RouterError, UnknownModel
from service.meter.meter import Meter, Use
from service.relay.deployments import Deployments


@dataclass(frozen=True, slots=True)
class ModerationAnswer:
    """The answer of the server as it is, with the model that the request was for."""

    model_id: str
    body: Json
    rates: Mapping[str, Rate] = field(default_factory=dict)  # what is left to the caller, by kind


@dataclass(frozen=True, slots=True)
class ModerationService:
    """The moderation models.

    Like embeddings, verdicts of different models cannot be compared: no model stands in for another.

    Args:
        meter: holds what requests may use of limits.
        observe: called with the result of each request.
    """

    models: Sequence[RelayedModel]
    client: ModerationClient
    deployments: Deployments
    meter: Meter
    observe: Callable[[Relayed], None]

    def named(self, name: str) -> RelayedModel | None:
        """The model of that id or alias."""
        return next((model for model in self.models if name in model.names), None)

    def find(self, name: str | None) -> RelayedModel:
        """The model of that id or alias; None or `auto`: the first one.

        Raises:
            NotConfigured: there is no model.
            UnknownModel: no model has that name.
        """
        if not self.models:
            raise NotConfigured("moderations: no model is configured; `moderation_models` lists them")
        if name is None or name in AUTO:
            return self.models[0]
        if (model := self.named(name)) is not None:
            return model
        names = ", ".join(model.model_id for model in self.models)
        raise UnknownModel(f"model: {name!r} is no moderation model; there are: {names}", param="model")

    async def moderate(self, request: ModerationRequest, caller: Caller | None) -> ModerationAnswer:
        """The verdicts on the inputs.

        Raises:
            BadRequest: there is no such model.
            ProviderRejected: the model's server rejected the request.
            AllArmsFailed: no deployment answered.
            LimitReached: a limit of the caller or of the model leaves too little.
            Unavailable: nobody knows what limits leave.
        """
        model = self.find(request.model)
        free = Use(model.model_id, Decimal(0), 0)  # providers bill no moderations, and count no tokens
        try:
            async with self.meter.metering(caller, free) as metered:
                _, body = await self.deployments.first_answer(
                    model.deployments, partial(self._by_server, request)
                )
                metered.use = free
        except RouterError as error:
            self.observe(Relayed(model.model_id, type(error).__name__))
            raise
        self.observe(Relayed(model.model_id, "ok", cost_usd=Decimal(0)))
        return ModerationAnswer(model.model_id, body, metered.hold.rates)

    async def _by_server(self, request: ModerationRequest, arm: Arm, timeout_s: float) -> Json:
        return await self.client.moderate(arm, request.content, timeout_s=timeout_s)
