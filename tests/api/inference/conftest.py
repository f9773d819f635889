"""What runs the programs that are asked."""

from collections.abc import AsyncIterator

import pytest_asyncio

from hansa.server import config
from hansa.server.inference import runner
from hansa.server.inference.keeping import Cells


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def programs() -> AsyncIterator[Cells]:
    """The server's own sandbox, once for all tests of a module: torch takes seconds to be imported."""
    cells = Cells(config.Inference(processes=1, seconds=5))
    runner.use(cells)
    yield cells
    runner.use(None)
    await cells.close()
