"""A real server and real clients whose updates come in fewer bytes: each form, and forms beside each other."""

from contextlib import ExitStack

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from hansa.client import Api, TrainResult, Transport
from hansa.formats import safetensors
from hansa.formats.encodings import selected
from hansa.protocol.encodings import Encoding
from hansa.protocol.trainings import TrainingCreate
from support.serving import PASSWORD, furnish, serving
from support.working import working

ROUNDS = 2
EXAMPLES = {"anna": 10, "bert": 30}
BUFFERS = frozenset({"norm.mean"})
FORMS = {
    "whole, float16": {"dtype": "float16"},
    "whole, bfloat16": {"dtype": "bfloat16"},
    "difference": {"content": "difference"},
    "difference, float16": {"content": "difference", "dtype": "float16"},
    "difference, bfloat16": {"content": "difference", "dtype": "bfloat16"},
    "a part": {"content": "difference", "dtype": "bfloat16", "params": ["head.*"]},
}
EPSILON = {"as_model": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
WIDTH = {"as_model": 4, "float16": 2, "bfloat16": 2}


def model():
    rng = np.random.default_rng(5)
    return {
        "body.weight": rng.normal(size=(300, 100)).astype(np.float32),
        "head.weight": rng.normal(size=(100, 10)).astype(np.float32),
        "norm.mean": np.ones(100, np.float32),
    }


class Moves:
    """Moves every param by numbers that only its seed decides, a hundredth of what they are."""

    def __init__(self, examples):
        self.examples = examples

    def train(self, params, config):
        return TrainResult(moved(params, self.examples, config.round), num_examples=self.examples)

    def evaluate(self, params, config):
        raise AssertionError("the plan asks for no evaluation")


def moved(params, examples, number):
    rng = np.random.default_rng([examples, number])
    return {
        name: (array + 0.01 * rng.normal(size=array.shape)).astype(array.dtype)
        for name, array in sorted(params.items())
    }


def versions(form):
    """What would come of it if nothing were rounded."""
    params, made = model(), []
    sent = selected(params.keys() - BUFFERS, form.get("params")) | BUFFERS
    for number in range(1, ROUNDS + 1):
        trained = [moved(params, examples, number) for examples in EXAMPLES.values()]
        params = {
            name: np.average([each[name].astype(np.float64) for each in trained], axis=0, weights=[*EXAMPLES.values()])
            if name in sent
            else params[name]
            for name in params
        }
        params = {name: array.astype(np.float32) for name, array in params.items()}
        made.append(params)
    return made


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A server with two clients at work."""
    folder = tmp_path_factory.mktemp("encoded")
    furnish(folder / "home")
    with serving(folder / "home") as server, ExitStack() as stack:
        transport = stack.enter_context(Transport(server.url, basic=("root", PASSWORD)))
        api = Api(transport)
        for name, examples in EXAMPLES.items():
            token = api.enroll(api.invite(name).code).token
            stack.enter_context(working(server.url, token, folder / name, Moves(examples)))
        yield api


def trained(api, folder, form):
    """The arrays of the versions of such a training, and the bytes of its updates."""
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        safetensors.write(file, model(), BUFFERS)
    plan = {"rounds": ROUNDS, "seed": 1, "evaluation": {"every": 0}, "encoding": form}
    created = TrainingCreate(model_id=api.create_model(path, name="m").model_id, plan=plan, clients=[*EXAMPLES])
    training = api.create_training(created).training_id
    api.start(training)
    record = api.training(training)
    while record.status == "ongoing":
        record = api.training(training, wait=30, revision=record.revision)
    assert record.status == "completed", record.reason
    made = []
    for number in range(1, ROUNDS + 1):
        api.download(record.model, number, folder / f"{number}.safetensors")
        made.append(load_file(folder / f"{number}.safetensors"))
    return made, [task.bytes for each in api.rounds(training) for task in api.round(training, each.number).tasks]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_versions_are_those_of_whole_params_but_for_what_the_form_rounds(api, tmp_path, form):
    encoding = msgspec.convert(form, Encoding)

    made, sizes = trained(api, tmp_path, form)

    before = model()
    for found, exact in zip(made, versions(form), strict=True):
        for name, array in exact.items():
            sent = np.abs(array - before[name]) + 0.06 if encoding.content == "difference" else np.abs(array) + 0.06
            bound = 2 * EPSILON[encoding.dtype] * sent + 2.0**-22 * np.abs(array)
            assert (np.abs(found[name] - array) <= bound).all(), name
            assert found[name].dtype == np.float32
        before = exact
    if encoding.params is not None:
        np.testing.assert_array_equal(made[-1]["body.weight"], model()["body.weight"])
    elements = 1000 + (0 if encoding.params else 30_000)
    data = elements * WIDTH[encoding.dtype] + 4 * 100
    assert all(data < size < data + 1024 for size in sizes), (data, sizes)
