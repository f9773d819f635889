"""The first answer of a model brings what a run tells into its statistics, whatever runs it."""

import numpy as np
import pytest
from torch import nn

from hansa.server.inference import runner
from hansa.server.inference.errors import ProgramError, UnavailableError
from hansa.server.registry.statistics import Executed, ExecutedLayer
from support.asking import answer, ask, created
from support.torchfiles import scripted

TOLD = Executed({"0": ExecutedLayer((1, 4), (1, 3), 12)})


class Told:
    """Answers zeros, and tells what it is given to tell."""

    def __init__(self, told):
        self.told = told
        self.asked = []

    async def outputs(self, job):
        return np.zeros((1, 1, 2))

    async def summary(self, job):
        self.asked.append(job.inputs.shape)
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


@pytest.mark.parametrize(
    ("told", "macs", "times"),
    [(TOLD, 12, 1), (ProgramError("it wants words"), None, 1), (UnavailableError("not now"), None, 2)],
)
async def test_a_model_is_run_once_for_its_statistics_unless_nothing_could_be_run(
    told, macs, times, alice, monkeypatch
):
    programs = Told(told)
    monkeypatch.setattr(runner, "_programs", programs)
    model_id = await created(alice, scripted(nn.Sequential(nn.Linear(4, 3))), input_shape=["None", "4"])

    for _ in range(2):
        answer(await ask(alice, model_id, [[1.0, 2.0, 3.0, 4.0]]))
        await runner.idle()

    stats = (await alice.get(f"/api/models/{model_id}/metadata/")).json()["stats"]
    assert (stats["total_mult_adds"], programs.asked) == (macs, [(1, 4)] * times)
