"""Three clients with hardly the same digits train a net that is too sure, calibrate it, and what it says then holds."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hansa.client import Api, Client
from hansa.client.adapters.torch import TorchTrainer
from hansa.client.predictions import Prediction
from hansa.protocol.models import ModelVersion
from hansa.protocol.trainings import TrainingCreate
from hansa.uncertainty.calibration import calibration_error, tally
from hansa.uncertainty.probabilities import softmax
from support.torchfiles import scripted
from support.working import working
from system.processes import serving

SEED = 20261123
CLIENTS, SKEW, LEVEL = 3, 0.5, 0.9
TRAINED, EVALUATED, CALIBRATED = 250, 250, 700
PLAN = {
    "rounds": 1,
    "seed": 1,
    "client": {"epochs": 30, "client_lr": 0.5, "momentum": 0.9},
    "uncertainty": {"calibration": {"temperature": True, "scores": "lac"}},
}


def net() -> nn.Module:
    torch.manual_seed(SEED)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


@dataclass
class Asked:
    """What the server says of digits that no client had."""

    version: ModelVersion
    told: Prediction
    told_a_client: Prediction
    images: np.ndarray
    labels: np.ndarray


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Iterator[Asked]:
    print(f"seed {SEED}")
    rng, digits = np.random.default_rng(SEED), load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)
    shares = rng.dirichlet(np.full(CLIENTS, SKEW), 10).cumsum(axis=1)[:, :-1]
    owners = (rng.random((len(labels), 1)) > shares[labels]).sum(axis=1)
    deal = rng.permutation(len(labels))
    parts = np.split(deal, np.cumsum([TRAINED, EVALUATED, CALIBRATED]))

    def data(part: int, client: int) -> DataLoader:
        own = parts[part][owners[parts[part]] == client]
        return DataLoader(TensorDataset(torch.from_numpy(images[own]), torch.from_numpy(labels[own])), batch_size=32)

    folder = tmp_path_factory.mktemp("digits")
    with serving(folder / "server") as server:
        api = server.admin()
        archive = folder / "net.pt"
        archive.write_bytes(scripted(net()).content)
        model = api.create_model(archive, name="digits").model_id
        trainers = {
            f"client-{client}": TorchTrainer(
                net(),
                data(0, client),
                nn.CrossEntropyLoss(),
                test_data=data(1, client),
                calibration_data=data(2, client),
            )
            for client in range(CLIENTS)
        }
        tokens = {name: api.enroll(api.invite(name).code).token for name in trainers}
        training = api.create_training(TrainingCreate(model_id=model, plan=PLAN, clients=[*trainers])).training_id
        api.start(training)
        with ExitStack() as stack:
            for name, trainer in trainers.items():
                stack.enter_context(working(server.url, tokens[name], folder / name, trainer))
            finish(api, training)
        rest = parts[3]
        told = api.predict(model, images[rest], level=LEVEL)
        participant = Client(server.url, tokens["client-0"], state=folder / "asking")
        told_a_client = participant.predict(model, images[rest], level=LEVEL)
        yield Asked(api.versions(model)[1], told, told_a_client, images[rest], labels[rest])
        api.transport.close()


def finish(api: Api, training: str) -> None:
    record = api.training(training)
    while record.status == "ongoing":
        record = api.training(training, wait=30, revision=record.revision)
    assert record.status == "completed", record.reason


def test_with_the_temperature_the_net_is_as_sure_as_it_is_right_on_digits_that_nobody_had(asked):
    known = asked.version.calibration
    assert known is not None
    assert known.temperature is not None
    assert known.temperature > 1, "a net of 250 digits is too sure"
    assert known.loss_tempered < known.loss
    probabilities = np.array(asked.told.probabilities)
    assert asked.told.reckoned.temperature == known.temperature
    logits = np.log(np.maximum(probabilities, 1e-300)) * known.temperature  # up to a constant, which softmax forgets
    before = calibration_error(tally(softmax(logits), asked.labels))
    after = calibration_error(tally(probabilities, asked.labels))
    print(f"temperature {known.temperature:g}: calibration error {before:.4f} before, {after:.4f} after")
    assert after < before
    assert known.ece_tempered < known.ece, "and so say the clients' own"


def test_the_sets_hold_the_digit_about_as_often_as_was_asked(asked):
    found = asked.told.reckoned.conformal
    assert (found.clients, found.rule, found.level) == (CLIENTS, "lac", LEVEL)
    held = np.mean([label in classes for label, classes in zip(asked.labels, found.sets, strict=True)])
    print(f"{held:.3f} of {len(asked.labels)} digits are in their sets; {found.examples} scores")
    assert abs(held - LEVEL) < 0.05, "one split: three standard errors of some 600 digits are 0.04"


def test_a_client_that_asks_at_a_level_is_given_the_same_sets(asked):
    assert asked.told_a_client.reckoned.conformal.sets == asked.told.reckoned.conformal.sets
