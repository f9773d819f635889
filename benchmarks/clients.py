"""Many clients in one process, a thread each, through the same `hansa.client.Client` that everybody uses.

They train nothing: the params come back plus a constant, at once, so that what is measured is Hansa. Run by the
benchmarks: clients.py URL TOKENS FOLDER, with a token a line in TOKENS and every client's state in FOLDER.
"""

import signal
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np

from hansa.client import Client, Config, TrainResult
from hansa.core.params import Array

STEP = 0.001


class PlusConstant:
    """The least that a trainer can do. The number of examples differs by client, so that the mean is a weighted one."""

    def train(self, params: dict[str, Array], config: Config) -> TrainResult:
        for array in params.values():
            np.add(array, array.dtype.type(STEP), out=array)
        return TrainResult(params, num_examples=100 + config.ordinal, metrics={"loss": 1.0})

    def evaluate(self, params: dict[str, Array], config: Config) -> Mapping[str, float]:
        del params
        return {"loss": 1.0, "num_examples": 100 + config.ordinal}


def main(url: str, tokens: Path, folder: Path) -> None:
    clients = [Client(url, token, state=folder / str(index)) for index, token in enumerate(tokens.read_text().split())]

    def stop(*_: object) -> None:
        for client in clients:
            client.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with ThreadPoolExecutor(max_workers=len(clients)) as threads:
        runs = [threads.submit(client.run, PlusConstant()) for client in clients]
        ended, _ = wait(runs, return_when=FIRST_EXCEPTION)
        stop()
    for run in ended:
        run.result()


if __name__ == "__main__":
    threading.stack_size(512 * 1024)
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
