"""The settings of feedback that clients send."""

from __future__ import annotations

from pydantic import Field

from service.settings.models import FrozenSettings


class FeedbackSettings(FrozenSettings):
    """How long, and how often, a rating can be replaced."""

    feedback_revision_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="age of an answer up to which its rating can be replaced or withdrawn, days",
    )
    feedback_max_revisions: int = Field(
        100, ge=0, le=1_000_000, description="times that the rating of an answer can be replaced"
    )
