"""What runs the programs that are asked."""

from collections.abc import Iterator

import pytest

from hansa.server.inference import runner
from support.plain_torch import PlainTorch


@pytest.fixture
def programs() -> Iterator[None]:
    """Torch, in this process: of what is sent here nothing comes from outside."""
    runner.use(PlainTorch())
    yield
    runner.use(None)
