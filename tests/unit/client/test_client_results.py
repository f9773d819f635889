"""What a trainer may return, and how it is told what it may not."""

import msgspec
import numpy as np
import pytest

from hansa.client import BadAnswer, Config, EvaluateResult, ResultError, TrainResult
from hansa.client.results import checked_evaluation, checked_training
from hansa.core.params import spec_of
from hansa.protocol.tasks import Task, TaskKind, TaskReport

GOOD = {"fc.weight": np.ones((2, 3), np.float32), "seen": np.array(4)}
SPEC = spec_of(GOOD, buffers=frozenset({"seen"}))


def changed(**arrays):
    return TrainResult({**GOOD, **{name.replace("_", "."): array for name, array in arrays.items()}}, 10)


def test_a_good_result_comes_through():
    result = checked_training(TrainResult(GOOD, np.int64(10), {"loss": np.float32(0.5), "steps": 3}), SPEC)
    assert (result.num_examples, result.metrics) == (10, {"loss": 0.5, "steps": 3.0})
    assert result.params.keys() == GOOD.keys()


def test_what_the_protocol_just_allows_comes_through():
    most = {"x" * (64 - len(str(n))) + str(n): 1.0 for n in range(64)}
    result = checked_training(TrainResult(GOOD, 2**53, most), SPEC)
    report = TaskReport(num_examples=result.num_examples, digest="0" * 64, metrics=dict(result.metrics))
    assert msgspec.json.decode(msgspec.json.encode(report), type=TaskReport) == report


def test_views_foreign_byte_order_and_scalars_are_brought_into_plain_form():
    result = checked_training(changed(fc_weight=np.ones((3, 2), ">f4").T, seen=np.int64(4)), SPEC).params
    assert result["fc.weight"].flags.c_contiguous
    assert result["fc.weight"].dtype == np.dtype("<f4")
    assert result["seen"].shape == ()


class Tensor:
    def detach(self):
        return self


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "train returned None; wanted is hansa.client.TrainResult"),
        ((GOOD, 10), "train returned of type tuple; wanted is hansa.client.TrainResult"),
        (TrainResult([], 10), "params is of type list; wanted is a dict"),
        (TrainResult({"seen": GOOD["seen"]}, 10), "params lacks 'fc.weight'; return every array that was given"),
        (changed(extra=np.ones(1)), "params holds 'extra', which the model does not have"),
        (changed(fc_weight=np.ones((3, 2), np.float32)), "params['fc.weight'] has shape (3, 2); the model has (2, 3)"),
        (changed(fc_weight=np.ones((2, 3))), "params['fc.weight'] has dtype float64; the model has float32"),
        (changed(fc_weight=[[1.0]]), "params['fc.weight'] is of type list; wanted is a numpy array"),
        (changed(fc_weight=Tensor()), "use tensor.detach().cpu().numpy()"),
        (TrainResult(GOOD, 0), "num_examples is 0; wanted is at least 1"),
        (TrainResult(GOOD, -3), "num_examples is -3; wanted is at least 1"),
        (TrainResult(GOOD, 2**53 + 1), "num_examples is a number of 54 bits; wanted is at most 2**53"),
        (TrainResult(GOOD, True), "num_examples is of type bool; wanted is a whole number"),
        (TrainResult(GOOD, 1.0), "num_examples is of type float; wanted is a whole number"),
        (TrainResult(GOOD, np.ones(3)), "num_examples is [1. 1. 1.]; wanted is a whole number"),
        (TrainResult(GOOD, 1, None), "metrics is None; wanted is a dict"),
        (TrainResult(GOOD, 1, {"loss": float("nan")}), "metrics['loss'] is nan; wanted is a finite number"),
        (TrainResult(GOOD, 1, {"loss": "low"}), "metrics['loss'] is of type str; wanted is a number"),
        (TrainResult(GOOD, 1, {"loss": np.ones(2)}), "metrics['loss'] is of type ndarray, which is not one number"),
        (TrainResult(GOOD, 1, {"": 1.0}), "a metric is named ''; wanted is a text of 1 to 64 characters"),
        (TrainResult(GOOD, 1, {"x" * 65: 1.0}), "wanted is a text of 1 to 64 characters"),
        (TrainResult(GOOD, 1, {3: 1.0}), "a metric is named 3"),
        (TrainResult(GOOD, 1, {"\ud800": 1.0}), "a metric is named '\\ud800', which is no text"),
        (TrainResult(GOOD, 1, {"loss": 10**400}), "metrics['loss'] is of type int, which is not one number"),
        (TrainResult(GOOD, 1, {f"m{n}": 1.0 for n in range(65)}), "65 metrics came with the result; at most 64"),
    ],
)
def test_a_wrong_result_is_told_with_what_was_seen_and_what_is_wanted(result, told):
    with pytest.raises(ResultError) as refusal:
        checked_training(result, SPEC)
    assert told in str(refusal.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_training_is_told_with_the_place(value):
    weight = np.ones((2, 3), np.float32)
    weight[1, 2] = value
    with pytest.raises(ResultError, match=rf"params\['fc.weight'\] holds {value} at \[1, 2\]: the training diverged"):
        checked_training(changed(fc_weight=weight), SPEC)


def test_an_evaluation_is_a_dict_with_its_examples_or_an_evaluate_result():
    expected = EvaluateResult({"loss": 0.5}, 10)
    assert checked_evaluation({"num_examples": 10, "loss": 0.5}) == expected
    assert checked_evaluation(expected) == expected


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "evaluate returned None"),
        (0.5, "evaluate returned of type float"),
        ({"loss": 0.5}, "without \"num_examples\" (it has 'loss')"),
        ({}, 'without "num_examples" (it has nothing)'),
        ({"num_examples": 0, "loss": 0.5}, "num_examples is 0"),
        ({"num_examples": 2**60, "loss": 0.5}, "wanted is at most 2**53"),
        ({"num_examples": 1, **{f"m{n}": 1.0 for n in range(65)}}, "65 metrics came with the result; at most 64"),
        ({"num_examples": 1, "loss": np.inf}, "metrics['loss'] is inf"),
    ],
)
def test_a_wrong_evaluation_is_told(result, told):
    with pytest.raises(ResultError) as refusal:
        checked_evaluation(result)
    assert told in str(refusal.value)


def a_task(**config):
    return Task(
        id="1",
        kind=TaskKind.TRAIN,
        training="t",
        round=2,
        rounds=5,
        attempt=1,
        model="m",
        version=1,
        digest="0" * 64,
        size=1,
        ordinal=3,
        seed=2**63 - 1,
        config=config,
        lease_seconds=60.0,
    )


def test_a_config_is_what_the_plan_asks_with_the_rest_unread_in_extra():
    config = Config.of(a_task(epochs=3, client_lr=0.1, momentum=None, proximal_mu=0.5, colour="blue", deep=True))
    assert (config.epochs, config.client_lr, config.momentum, config.proximal_mu) == (3, 0.1, None, 0.5)
    assert config.extra == {"colour": "blue", "deep": True}
    assert (config.round, config.rounds, config.version, config.ordinal, config.seed) == (2, 5, 1, 3, 2**63 - 1)
    assert config.cancelled() is False


def test_a_config_that_is_not_understood_is_told():
    with pytest.raises(BadAnswer, match="which this client does not understand"):
        Config.of(a_task(epochs="many"))
