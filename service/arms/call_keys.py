"""Which arms have no key for a query: no caller's own, or no login at their provider."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from service.arms.key_bindings import destination
from service.domain.arm import Arm
from service.domain.hosts import Origin
from service.domain.oauth import Logins
from service.domain.query import Query

NO_CLIENT_KEY = "needs the caller's own key of its provider, and the request has none"
SEVERAL_PROVIDERS = (
    "takes the caller's own key, which could be of another provider that takes one: the request must name "
    "the model"
)


class NoLogins:
    """Logins of a configuration without `providers_auth`."""

    def problem(self, name: str) -> str | None:
        return f"providers_auth has no entry {name!r}"


def without_key(
    arms: Iterable[Arm], choosable: Iterable[Arm], query: Query, logins: Logins
) -> Mapping[str, str]:
    """Why arms cannot be called for want of a key, by arm id.

    A caller's key goes to one provider only. Nobody knows which one it is of, so if arms of several
    providers could get it, none does.

    Args:
        choosable: the arms that the request allows.
    """
    places = {destination(arm).origin for arm in choosable if arm.takes_client_key}
    reasons = {}
    for arm in arms:
        why = _why_no_client_key(arm, places, query) if arm.takes_client_key else None
        if arm.auth is not None:
            why = logins.problem(arm.auth)
        if why is not None:
            reasons[arm.arm_id] = why
    return reasons


def _why_no_client_key(arm: Arm, places: Set[Origin | None], query: Query) -> str | None:
    if query.credential is None:
        return NO_CLIENT_KEY
    own = {destination(endpoint).origin for endpoint in arm.endpoints}
    return None if len(own | places) == 1 else SEVERAL_PROVIDERS
