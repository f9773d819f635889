"""The torch adapter: the same bits again, the formulas of SGD and FedProx, and every kind of array in its place."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hansa.client.adapters.torch import Means, TorchTrainer, accuracy, load_params, params_of
from hansa.client.calibration import Confidence
from hansa.client.results import checked_evaluation, checked_moments, checked_training
from hansa.client.trainer import Config
from hansa.core.params import spec_of


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Everything(nn.Module):
    """BatchNorm's float and integer buffers, a tied param, a frozen param, dropout."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)
        self.tied = nn.Linear(6, 6, bias=False)
        self.tied.weight = self.first.weight
        self.frozen = nn.Linear(6, 6)
        self.frozen.requires_grad_(False)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = self.norm(torch.relu(self.first(x)))
        x = nn.functional.dropout(self.tied(x) + self.frozen(x), 0.2, self.training)
        return self.last(x)


def batches(*, examples=20, batch_size=6, shuffle=True, generator=None):
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(size=(examples, 6)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 3, size=examples))
    return DataLoader(TensorDataset(x, y), batch_size=batch_size, shuffle=shuffle, generator=generator)


def everything(seed=0):
    torch.manual_seed(seed)
    return Everything()


def same_bits(one, other):
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("generator", [None, torch.Generator()])
def test_the_same_task_gives_the_same_bits_again_whatever_happened_in_between(generator):
    params, _ = params_of(everything())
    trainer = TorchTrainer(everything(1), batches(generator=generator), nn.CrossEntropyLoss(), momentum=0.9)
    config = Config(seed=2**63 - 1, epochs=2, client_lr=0.05)

    first = trainer.train(dict(params), config)
    torch.rand(7)  # somebody else draws
    again = trainer.train(dict(params), config)
    other = trainer.train(dict(params), Config(seed=1, epochs=2, client_lr=0.05))

    assert same_bits(first.params, again.params)
    assert first.metrics == again.metrics
    assert not same_bits(first.params, other.params)


def test_a_trainer_that_was_used_gives_the_same_bits_as_a_new_one():
    """A client that was killed in mid-training trains again, with the result that it would have had."""
    params, _ = params_of(everything())
    used = TorchTrainer(everything(1), batches(), nn.CrossEntropyLoss(), momentum=0.9)
    used.train(dict(params), Config(seed=1))
    new = TorchTrainer(everything(2), batches(), nn.CrossEntropyLoss(), momentum=0.9)
    config = Config(seed=5)
    assert same_bits(used.train(dict(params), config).params, new.train(dict(params), config).params)


def test_params_and_buffers_are_told_apart_and_tied_params_appear_under_both_names():
    params, buffers = params_of(everything())
    assert buffers == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert params["norm.num_batches_tracked"].dtype == np.int64
    assert params["norm.num_batches_tracked"].shape == ()
    assert params["tied.weight"].tobytes() == params["first.weight"].tobytes()


def test_params_are_copies():
    module = everything()
    params, _ = params_of(module)
    before = params["last.bias"].copy()
    with torch.no_grad():
        module.last.bias += 1
    assert np.array_equal(params["last.bias"], before)


def test_training_changes_what_is_learned_and_counted_and_nothing_that_is_frozen():
    params, buffers = params_of(everything())
    result = TorchTrainer(everything(1), batches(), nn.CrossEntropyLoss()).train(dict(params), Config(epochs=2))

    checked_training(result, spec_of(params, buffers=buffers))  # names, shapes, dtypes as given
    assert result.params["norm.num_batches_tracked"] == 8  # 20 examples in batches of 6, twice
    for name in ("frozen.weight", "frozen.bias"):
        assert result.params[name].tobytes() == params[name].tobytes()
    for name in ("first.weight", "tied.weight", "last.bias", "norm.weight", "norm.running_mean"):
        assert result.params[name].tobytes() != params[name].tobytes()
    assert result.params["tied.weight"].tobytes() == result.params["first.weight"].tobytes()


def test_examples_are_counted_once_however_many_epochs():
    params, _ = params_of(everything())
    trainer = TorchTrainer(everything(), batches(), nn.CrossEntropyLoss(), test_data=batches(examples=7))
    assert trainer.train(params, Config(epochs=3)).num_examples == 20
    assert trainer.evaluate(params, Config()).num_examples == 7


class Line(nn.Module):
    """y = w·x, whose SGD steps can be done by hand."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.w * x


HALF_SQUARES = lambda output, target: ((output - target) ** 2).mean() / 2  # noqa: E731 - a name for a formula


@settings(max_examples=25, deadline=None)
@given(w0=st.floats(-2, 2), x=st.floats(0.5, 2), y=st.floats(-2, 2), lr=st.floats(0.01, 0.2), mu=st.floats(0, 3))
def test_two_steps_are_those_of_fedprox_by_hand(w0, x, y, lr, mu):
    """Each step: w ← w - lr·((w·x - y)·x + μ·(w - w₀)), Li et al. 2020, eq. 2, for one example at a time."""
    data = [(torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64))] * 2
    trainer = TorchTrainer(Line().double(), data, HALF_SQUARES)
    result = trainer.train({"w": np.array([w0])}, Config(client_lr=lr, proximal_mu=mu))

    expected = w0
    for _ in range(2):
        expected -= lr * ((expected * x - y) * x + mu * (expected - w0))
    assert result.params["w"][0] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_the_plan_comes_before_the_trainers_own_choices():
    data = [(torch.ones(1), torch.ones(1))]
    own = TorchTrainer(Line(), data, HALF_SQUARES, client_lr=0.5)
    zero = {"w": np.zeros(1, np.float32)}
    assert own.train(dict(zero), Config()).params["w"][0] == np.float32(0.5)
    assert own.train(dict(zero), Config(client_lr=0.25)).params["w"][0] == np.float32(0.25)


def test_momentum_is_new_in_every_task():
    data = [(torch.ones(1), torch.ones(1))] * 2
    trainer = TorchTrainer(Line(), data, HALF_SQUARES, client_lr=0.1)
    zero = {"w": np.zeros(1, np.float32)}
    first = trainer.train(dict(zero), Config(momentum=0.9)).params["w"][0]
    assert trainer.train(dict(zero), Config(momentum=0.9)).params["w"][0] == first
    assert first == pytest.approx(0.1 + 0.1 * (0.9 + 0.9))  # v₁ = 1, v₂ = 0.9·1 + 0.9


def test_another_optimizer_takes_the_plans_values_or_says_that_it_cannot():
    data = [(torch.ones(1), torch.ones(1))]
    adam = TorchTrainer(Line(), data, HALF_SQUARES, optimizer=lambda params: torch.optim.Adam(params, lr=1.0))
    zero = {"w": np.zeros(1, np.float32)}
    assert adam.train(dict(zero), Config()).params["w"][0] == pytest.approx(1.0, rel=1e-5)
    assert adam.train(dict(zero), Config(client_lr=0.01)).params["w"][0] == pytest.approx(0.01, rel=1e-5)
    with pytest.raises(ValueError, match=r"asks for momentum 0\.9, which Adam does not have"):
        adam.train(dict(zero), Config(momentum=0.9))


def test_evaluation_uses_running_statistics_and_changes_nothing():
    params, _ = params_of(everything())
    module = everything(1)
    trainer = TorchTrainer(module, batches(), nn.CrossEntropyLoss(), test_data=batches(shuffle=False))
    first = checked_evaluation(trainer.evaluate(params, Config(seed=1)))
    assert first == checked_evaluation(trainer.evaluate(params, Config(seed=2)))
    assert same_bits(params_of(module)[0], params)
    assert set(first.metrics) == {"loss", "accuracy", "ece"}


def test_an_evaluation_by_cross_entropy_tells_the_calibration_error_of_all_batches_together():
    params, _ = params_of(everything())
    measured = evaluated(nn.CrossEntropyLoss(), batches(shuffle=False), params)
    sureness = Confidence()
    module = everything().eval()
    load_params(module, params)
    with torch.no_grad():
        for x, y in batches(shuffle=False):
            sureness.add(module(x).numpy(), y.numpy())
    assert measured["ece"] == sureness.metrics()["ece"]


def test_outputs_that_no_cross_entropy_declares_to_be_logits_have_no_calibration_error():
    params, _ = params_of(everything())
    unknown = evaluated(nn.functional.cross_entropy, batches(), params)
    assert set(unknown) == {"loss", "accuracy"}


def test_examples_that_the_loss_ignores_do_not_count_for_the_calibration_error():
    params, _ = params_of(everything())
    kept = [(x[:2], y[:2]) for x, y in batches(shuffle=False)]
    ignored = [(x, torch.cat([y[:2], torch.full_like(y[2:], -100)])) for x, y in batches(shuffle=False)]
    loss = nn.CrossEntropyLoss()
    assert evaluated(loss, ignored, params)["ece"] == pytest.approx(evaluated(loss, kept, params)["ece"])


def evaluated(loss, data, params):
    trainer = TorchTrainer(everything(), data, loss, test_data=data)
    return checked_evaluation(trainer.evaluate(params, Config(seed=1))).metrics


def test_means_weigh_batches_by_their_examples():
    means = Means()
    means.add({"loss": 1.0}, examples=3)
    means.add({"loss": 5.0}, examples=1)
    assert means.values() == {"loss": 2.0}
    assert Means().values() == {}


def test_accuracy_counts_the_highest_score_also_for_every_pixel():
    output = torch.tensor([[[0.1, 0.9]], [[0.9, 0.1]]]).permute(1, 0, 2)  # one example, two classes, two pixels
    assert accuracy(output, torch.tensor([[1, 1]])) == 0.5


def test_regression_has_no_accuracy_and_own_metrics_replace_it():
    data = [(torch.ones(4), torch.zeros(4))]
    params = {"w": np.ones(1, np.float32)}
    plain = TorchTrainer(Line(), data, HALF_SQUARES, test_data=data)
    own = TorchTrainer(Line(), data, HALF_SQUARES, test_data=data, metrics={"mae": lambda o, t: (o - t).abs().mean()})
    assert plain.evaluate(params, Config()).metrics == {"loss": 0.5}
    assert own.evaluate(params, Config()).metrics == {"loss": 0.5, "mae": 1.0}


def test_a_batch_may_have_several_inputs():
    class Sum(Line):
        def forward(self, x, z):
            return self.w * x + z

    data = [(torch.ones(2), torch.ones(2), torch.zeros(2))]
    assert TorchTrainer(Sum(), data, HALF_SQUARES, test_data=data).evaluate(
        {"w": np.ones(1, np.float32)}, Config()
    ).metrics == {"loss": 2.0}


def test_a_cancelled_training_returns_at_the_next_batch():
    cancelled, steps = threading.Event(), []

    def data():
        for _ in range(100):
            steps.append(1)
            if len(steps) == 3:
                cancelled.set()
            yield torch.ones(1), torch.ones(1)

    trainer = TorchTrainer(Line(), data(), HALF_SQUARES)
    trainer.train({"w": np.zeros(1, np.float32)}, Config(epochs=10, cancelled=cancelled.is_set))
    assert len(steps) == 3


def test_progress_grows_to_one():
    seen = []
    params, _ = params_of(everything())
    TorchTrainer(everything(), batches(), nn.CrossEntropyLoss()).train(params, Config(epochs=2, progress=seen.append))
    assert seen == sorted(seen)
    assert (len(seen), seen[-1]) == (8, 1.0)


def test_another_models_arrays_are_refused_by_name():
    params, _ = params_of(everything())
    params["last.bias"] = params["last.bias"].astype(np.float64)
    params["extra"] = params.pop("frozen.bias")
    with pytest.raises(ValueError, match="not the one the model was created from") as refusal:
        load_params(everything(), params)
    assert "the model lacks 'frozen.bias'" in str(refusal.value)
    assert "the module lacks 'extra'" in str(refusal.value)
    assert "'last.bias' is float64 (3,) in the model and float32 (3,) in the module" in str(refusal.value)


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.complex64])
def test_what_a_model_cannot_hold_is_refused_by_name(dtype):
    module = Line()
    module.register_buffer("mask", torch.zeros(2, dtype=dtype))
    with pytest.raises(ValueError, match=f"'mask' in the module's state is {str(dtype).removeprefix('torch.')}"):
        params_of(module)


def test_channels_last_weights_come_out_in_plain_order():
    module = nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
    params, _ = params_of(module)
    assert params["weight"].flags.c_contiguous
    assert np.array_equal(params["weight"], module.weight.detach().contiguous().numpy())


def test_evaluation_without_test_data_says_what_to_do():
    with pytest.raises(ValueError, match="Give it some, or set evaluation"):
        TorchTrainer(Line(), [], HALF_SQUARES).evaluate({"w": np.zeros(1, np.float32)}, Config())


# SWAG


def linear_data():
    rng = np.random.default_rng(8)
    x = torch.from_numpy(rng.normal(size=(12, 2)).astype(np.float32))
    return DataLoader(TensorDataset(x, x @ torch.tensor([[1.0], [-2.0]])), batch_size=4, shuffle=False)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_moments_are_those_of_the_weights_that_training_visits(every):
    module = nn.Linear(2, 1)
    params, _ = params_of(module)
    loss = nn.MSELoss()
    trainer = TorchTrainer(module, linear_data(), loss, moments_every=every)
    result = trainer.moments(params, Config(epochs=3, client_lr=0.1))

    visited = []
    load_params(module, params)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(3):
        for x, y in linear_data():
            optimizer.zero_grad()
            loss(module(x), y).backward()
            optimizer.step()
            visited.append(module.weight.detach().numpy().astype(np.float64).copy())
    seen = visited[every - 1 :: every]
    assert result.first["weight"] == pytest.approx(sum(seen) / len(seen), rel=1e-12)
    assert result.second["weight"] == pytest.approx(sum(w**2 for w in seen) / len(seen), rel=1e-12)
    assert result.num_examples == 12


def test_a_training_of_fewer_steps_has_the_moments_of_its_last_weights():
    module = nn.Linear(2, 1)
    params, _ = params_of(module)
    result = TorchTrainer(module, linear_data(), nn.MSELoss(), moments_every=100).moments(params, Config())
    assert result.second["bias"] == pytest.approx(result.first["bias"] ** 2)


def test_moments_of_every_kind_of_param_are_what_the_task_wants():
    params, buffers = params_of(everything())
    spec = spec_of(params, buffers=buffers)
    trainer = TorchTrainer(everything(1), batches(), nn.CrossEntropyLoss())

    checked = checked_moments(trainer.moments(params, Config(client_lr=0.05)), spec)

    assert checked.first.keys() == params.keys() - buffers
    assert (checked.first["tied.weight"] == checked.first["first.weight"]).all()
    spread = checked.second["frozen.weight"] - checked.first["frozen.weight"] ** 2
    assert spread == pytest.approx(0, abs=1e-12), "what does not learn does not vary"


def test_moments_are_looked_at_once_in_a_while_or_more_often():
    with pytest.raises(ValueError, match="moments_every is 0"):
        TorchTrainer(nn.Linear(1, 1), [], nn.MSELoss(), moments_every=0)
