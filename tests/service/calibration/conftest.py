from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.service.calibration.provider import Provider, providing


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with providing() as provider:
        yield provider
