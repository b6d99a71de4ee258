"""The models that a calibration asks, and those that judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.arms.catalog import Catalog
from service.arms.configured import ArmList, choose_arms, default_arm_id
from service.arms.key_bindings import KeyBindings
from service.arms.known_models import known_models
from service.arms.lifecycle import current_arms
from service.arms.requested_names import RequestedNames
from service.bootstrap.wire import breaker_of
from service.calibration.asked_arms import asked_arms, require_own_key, require_promises
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.clock import now
from service.domain.registration import ArmRegistration
from service.errors import BadRequest, StartupError, UnknownModel
from service.providers.simulator.simulator import SIMULATED_ARMS
from service.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class CalibrationArms:
    """The arms of the settings and of the database."""

    settings: Settings
    environ: Mapping[str, str]
    catalog: Catalog

    @classmethod
    def of(
        cls,
        settings: Settings,
        environ: Mapping[str, str],
        configured: ArmList,
        registrations: Mapping[str, ArmRegistration],
    ) -> CalibrationArms:
        """The configured arms, and those added at runtime that send no key to a place of their own."""
        bindings = KeyBindings.of((*configured.arms, *configured.unused))
        ids = {arm.arm_id for arm in configured.arms}
        arms = [
            arm
            for arm in current_arms(configured.arms, registrations)
            if arm.arm_id in ids or bindings.problem(arm) is None
        ]
        catalog = Catalog(
            tuple(arms),
            default_arm_id(settings, configured.arms),
            breaker_of(settings, now),
            registrations=registrations,
            names=RequestedNames.of(settings, configured.arms, environ),
        )
        return cls(settings, environ, catalog)

    def chosen(self, names: Sequence[str]) -> tuple[Arm, ...]:
        """The arms of these names, or all that are not on their way out and have a key in the environment.

        Raises:
            UnknownModel: none has that name.
            BadRequest: the arm of that name has its key elsewhere.
        """
        arms = asked_arms(self.catalog, names)
        if not names:
            return tuple(arm for arm in arms if arm.has_standing_key)
        for arm in arms:
            _require_standing_key(arm, "models")
        return arms

    def judge(self, name: str) -> Arm:
        """The arm of that name, or a model that LLM_MODELS could name: the router need not use a judge.

        Raises:
            BadRequest: there is no such model, or its provider does not promise what the settings require.
        """
        try:
            arm = self.catalog.known(name, param="grader")
        except UnknownModel as unknown:
            arm = self._unused(name, unknown)
        require_own_key(arm, "grader")
        _require_standing_key(arm, "grader")
        require_promises(arm, frozenset(self.settings.required_data_use))
        return arm

    def _unused(self, name: str, unknown: UnknownModel) -> Arm:
        alone: Json = {"llm_models": (name,), "default_model": None, "aliases": {}}
        try:
            settings = self.settings.model_copy(update=alone)
            [arm] = choose_arms(settings, self.environ, known_models(), SIMULATED_ARMS).arms
        except StartupError as error:
            raise unknown from error
        return arm


def _require_standing_key(arm: Arm, param: str) -> None:
    """Require that the arm needs no token of a login: only a running router has one. Raises BadRequest."""
    if not arm.has_standing_key:
        message = f"{param}: {arm.arm_id} needs the login of a running router: use POST /admin/calibrations"
        raise BadRequest(message, param=param)
