"""What the sandbox adds to a plain forward of a small CNN on one 28x28 image: one caller, then fifty.

    python benchmarks/inference.py

Both are measured in turn in one run, and their medians compared.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from time import perf_counter

import numpy as np
import torch
from torch import nn

from hansa.sandbox.messages import Call, Program, Tensor
from hansa.sandbox.pool import Pool

CALLS, CALLERS = 500, 50


async def main() -> None:
    """Print the figures."""
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1352, 10)).eval()
    image = np.zeros((1, 1, 28, 28), np.float32)
    call = Call((Program("net"),), (Tensor.of(image),))
    with tempfile.TemporaryFile() as file:
        torch.save(net, file)
        file.flush()

        @asynccontextmanager
        async def files() -> AsyncIterator[dict[str, int]]:
            yield {"net": file.fileno()}

        async with Pool() as pool:
            await asyncio.gather(*(pool.run(call, files) for _ in range(8)))
            plain, pooled = [], []
            for _ in range(CALLS):
                began = perf_counter()
                with torch.no_grad():
                    net(torch.from_numpy(image))
                between = perf_counter()
                await pool.run(call, files)
                plain.append(between - began)
                pooled.append(perf_counter() - between)
            began = perf_counter()
            for _ in range(10):
                await asyncio.gather(*(pool.run(call, files) for _ in range(CALLERS)))
            rate = CALLERS * 10 / (perf_counter() - began)
    print(f"plain {1e3 * median(plain):.2f} ms, pool {1e3 * median(pooled):.2f} ms; 50 at once: {rate:.0f}/s")


if __name__ == "__main__":
    asyncio.run(main())
