"""The contract's answer from the outputs of all passes, against slow and obvious arithmetic."""

import math

import numpy as np
import pytest
import safetensors.numpy
from scipy.stats import entropy

from hansa.server.inference import answers
from hansa.server.inference.answers import as_json, as_safetensors, told
from hansa.server.inference.errors import ProgramError
from hansa.server.inference.methods import Way
from hansa.server.lifecycle.errors import InvalidError

NONE = Way("none", 10, None)
SWAG = Way("swag", 10, None)
DROPOUT = Way("mc_dropout", 10, None)


def probabilities(*shape):
    return np.random.default_rng(7).dirichlet(np.ones(shape[-1]), size=shape[:-1])


def test_without_a_method_the_answer_is_the_number_of_the_likeliest_class():
    stack = np.float32([[[0.1, 0.9], [3.0, -2.0], [5.0, 5.0]]])

    found = told(stack, NONE)

    assert as_json(found.inference) == [1, 0, 0]
    assert found.inference.dtype == np.int64
    assert (found.uncertainty, found.notes) == ({}, [])


def test_every_pixel_has_its_likeliest_class():
    stack = np.zeros((1, 2, 3, 4, 5))
    stack[0, :, 2] = 1.0

    assert told(stack, NONE).inference.tolist() == np.full((2, 4, 5), 2).tolist()


@pytest.mark.parametrize(
    ("stack", "way"),
    [
        (np.float32([[1.5, -2.0]]), NONE),
        (np.float32([[[1.5], [-2.0]]]), NONE),
        (np.float32([[[1.5, -2.0]]]), Way("none", 10, "values")),
    ],
    ids=["one number for each input", "one output", "declared to be values"],
)
def test_what_is_of_no_classes_is_given_as_it_is(stack, way):
    assert np.array_equal(told(stack, way).inference, stack[0])


def test_without_a_method_a_mean_answers_with_the_likeliest_class_of_its_members_mean():
    stack = np.array([[[0.6, 0.4]], [[0.0, 1.0]]])

    assert told(stack, NONE).inference.tolist() == [1]


def test_spread_and_entropies_are_those_of_the_papers():
    stack = probabilities(5, 3, 4)

    found = told(stack, SWAG)

    mean = sum(stack) / 5
    variance = sum((each - mean) ** 2 for each in stack) / 4
    assert np.allclose(found.inference, mean)
    assert np.allclose(found.uncertainty["variance"], variance)
    assert np.allclose(found.uncertainty["std"], np.sqrt(variance))
    predictive = entropy(mean, axis=1)
    expected = np.mean([entropy(each, axis=1) for each in stack], axis=0)
    assert np.allclose(found.uncertainty["predictive_entropy"], predictive)
    assert np.allclose(found.uncertainty["expected_entropy"], expected)
    assert np.allclose(found.uncertainty["mutual_info"], predictive - expected)
    assert found.notes == [answers.BATCH_NORM, answers.GUESSED]


def test_undeclared_outputs_that_are_no_probabilities_have_no_entropies():
    assert told(np.array([[[2.0, 1.0]], [[0.5, 0.5]]]), DROPOUT).uncertainty.keys() == {"variance", "std"}


def test_declared_logits_are_made_probabilities_before_anything_is_reckoned():
    logits = np.random.default_rng(3).normal(size=(4, 2, 3)) * 5
    softmax = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)

    of_logits = told(logits, Way("mc_dropout", 4, "logits"))
    of_probabilities = told(softmax, Way("mc_dropout", 4, "probabilities"))

    assert np.allclose(of_logits.inference, softmax.mean(axis=0))
    assert np.allclose(of_logits.probabilities, softmax.mean(axis=0))
    for name in ("variance", "std", "predictive_entropy", "expected_entropy", "mutual_info"):
        assert np.allclose(of_logits.uncertainty[name], of_probabilities.uncertainty[name]), name
    assert of_logits.notes == []


@pytest.mark.parametrize("stack", [np.array([[[2.0, -1.0]]]), np.array([[0.5]])], ids=["logits", "no classes"])
def test_outputs_that_are_not_what_was_declared_are_refused(stack):
    with pytest.raises(InvalidError, match="not probabilities, as was declared"):
        told(stack, Way("none", 10, "probabilities"))


def test_values_have_a_variance_and_no_entropies():
    found = told(np.array([[0.25], [0.75]]), Way("mc_dropout", 2, "values"))

    assert found.inference.tolist() == [0.5]
    assert as_json(found.uncertainty["variance"]) == [0.125]
    assert found.uncertainty.keys() == {"variance", "std"}


def test_one_pass_has_no_variance_and_says_so():
    found = told(probabilities(1, 2, 3), DROPOUT)

    assert found.uncertainty.keys() == {"predictive_entropy", "expected_entropy", "mutual_info"}
    assert answers.SINGLE in found.notes


def test_passes_that_do_not_differ_are_told_of():
    assert answers.NO_SPREAD in told(np.ones((3, 1, 2)) * 4, DROPOUT).notes


def test_an_undefined_output_is_an_error_and_an_infinite_one_is_null_in_json():
    with pytest.raises(InvalidError, match="NaN"):
        told(np.array([[[math.nan, 1.0]]]), NONE)
    with pytest.raises(InvalidError, match="infinities"):
        told(np.array([[[math.inf, 1.0]]] * 2), SWAG)

    found = told(np.array([[[1.0], [-math.inf]]]), NONE)

    assert as_json(found.inference) == [[1.0], [None]]
    assert found.not_finite == ["inference"]


def test_an_output_without_a_batch_is_refused():
    with pytest.raises(ProgramError, match="batch dimension"):
        told(np.zeros(1), NONE)


def test_binary_has_every_array_by_name():
    found = told(probabilities(3, 2, 4), Way("swag", 3, "probabilities"))

    arrays = safetensors.numpy.load(as_safetensors(found))

    assert arrays.keys() == {"inference", "probabilities"} | {f"uncertainty.{name}" for name in found.uncertainty}
    assert np.array_equal(arrays["uncertainty.mutual_info"], found.uncertainty["mutual_info"])
    assert safetensors.numpy.load(as_safetensors(told(np.zeros((1, 2, 3)), NONE)))["inference"].dtype == np.int64


@pytest.mark.parametrize("row", [[math.inf, 0.0], [-math.inf, -math.inf]])
@pytest.mark.parametrize("method", ["none", "mc_dropout"])
def test_logits_that_make_no_probabilities_are_refused_by_name(row, method):
    with pytest.raises(InvalidError, match="logit of infinity") as caught:
        told(np.float32([[row], [row]]), Way(method, 10, "logits"))

    assert caught.value.code == "not_finite"


def test_a_class_that_a_model_rules_out_has_the_probability_0():
    found = told(np.float32([[[-math.inf, 0.0, 0.0]]]), Way("none", 10, "logits"))

    assert found.probabilities.tolist() == [[0.0, 0.5, 0.5]]
