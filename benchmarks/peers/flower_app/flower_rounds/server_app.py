"""FedAvg over all clients without evaluation, with the clock of rounds.py: from the first message made to the mean."""

import json
import time
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    """FedAvg that writes down when its rounds begin and end."""

    def __init__(self, clients: int) -> None:
        super().__init__(
            fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients
        )
        self.began: list[float] = []
        self.ended: list[float] = []

    def configure_train(self, *args, **named):  # noqa: ANN002, ANN003, ANN201  # Flower's, passed on as they come
        self.began.append(time.time())
        return super().configure_train(*args, **named)

    def aggregate_train(self, *args, **named):  # noqa: ANN002, ANN003, ANN201  # as above
        aggregated = super().aggregate_train(*args, **named)
        self.ended.append(time.time())
        return aggregated


@app.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    with np.load(config["params"]) as file:
        initial = ArrayRecord(array_dict={name: Array(file[name]) for name in file.files})
    strategy = Timed(int(config["clients"]))
    result = strategy.start(grid=grid, initial_arrays=initial, num_rounds=int(config["rounds"]))
    folder = Path(config["result"])
    np.savez(folder / "last.npz", **{name: array.numpy() for name, array in result.arrays.items()})
    written = folder / "rounds.part"
    written.write_text(json.dumps({"began": strategy.began, "ended": strategy.ended}))
    written.rename(folder / "rounds.json")  # whole, or not there
