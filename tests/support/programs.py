"""Files of programs, as the sandbox opens them."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from hansa.sandbox.pool import Files


def opening(paths: Mapping[str, Path]) -> Files:
    """What opens the files, each time that a call's turn has come, and closes them after it."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[dict[str, int]]:
        with ExitStack() as stack:
            files = {}
            for name, path in paths.items():
                files[name] = os.open(path, os.O_RDONLY)
                stack.callback(os.close, files[name])
            yield files

    return opened
