"""One suite over every server step, and for each the paper's recursion in Python's own numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hansa.core.server_steps import STEPS
from hansa.core.server_steps.adaptive import Adagrad, Adam, Yogi
from hansa.core.server_steps.momentum import Momentum
from hansa.core.server_steps.sgd import Sgd

few = settings(max_examples=40)

ALL = [
    Sgd(server_lr=0.5),
    Momentum(server_lr=0.5, momentum=0.9),
    Adagrad(server_lr=0.1, adaptivity=0.01),
    Adam(server_lr=0.1, beta_1=0.9, beta_2=0.99, adaptivity=0.01),
    Yogi(server_lr=0.1, beta_1=0.9, beta_2=0.99, adaptivity=0.01),
]
by_step = pytest.mark.parametrize("step", ALL, ids=lambda step: type(step).__name__)
updates = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6)


def begun(step, size):
    return {name: np.full(size, value) for name, value in step.initial().items()}


def run(step, rounds):
    """Where the params are after these updates, from 0 on."""
    x, state = 0.0, begun(step, 1)
    for update in rounds:
        moved, state = step.step(np.array([update]), state)
        x += float(moved[0])
    return x


def slowly(step, rounds):  # the five recursions, as the papers write them
    x = m = 0.0
    v = step.adaptivity**2 if hasattr(step, "adaptivity") else 0.0
    for update in rounds:
        match step:
            case Sgd():
                x += step.server_lr * update
                continue
            case Momentum():
                v = step.momentum * v + update
                x += step.server_lr * v
                continue
            case Adagrad():
                v = v + update**2
            case Adam():
                v = step.beta_2 * v + (1 - step.beta_2) * update**2
            case Yogi():
                difference = v - update**2
                sign = (difference > 0) - (difference < 0)
                v = v - (1 - step.beta_2) * update**2 * sign
        m = step.beta_1 * m + (1 - step.beta_1) * update
        x += step.server_lr * m / (math.sqrt(v) + step.adaptivity)
    return x


def test_every_step_that_a_plan_may_name_is_here():
    assert {type(step) for step in ALL} == {*STEPS.values()}


@by_step
@few
@given(updates)
def test_it_does_what_its_paper_says(step, rounds):
    assert run(step, rounds) == pytest.approx(slowly(step, rounds), rel=1e-9, abs=1e-12)


@by_step
@few
@given(updates)
def test_every_element_goes_by_itself_and_nothing_that_is_given_changes(step, elements):
    update, state = np.array(elements), begun(step, len(elements))
    kept = update.copy(), {name: array.copy() for name, array in state.items()}
    moved, after = step.step(update, state)
    assert moved.dtype == np.float64
    assert after.keys() == state.keys()
    for index in range(len(elements)):
        alone, _ = step.step(
            update[index : index + 1], {name: array[index : index + 1] for name, array in state.items()}
        )
        assert alone[0] == moved[index]
    np.testing.assert_array_equal(update, kept[0])
    for name, array in state.items():
        np.testing.assert_array_equal(array, kept[1][name])


@by_step
def test_without_an_update_nothing_moves_at_the_beginning(step):
    moved, _ = step.step(np.zeros(3), begun(step, 3))
    assert moved.tolist() == [0.0, 0.0, 0.0]


@by_step
@few
@given(updates)
def test_the_first_step_goes_where_the_update_points(step, elements):
    update = np.array(elements)
    moved, _ = step.step(update, begun(step, len(elements)))
    assert (np.sign(moved) == np.sign(update)).all()


def test_a_learning_rate_of_one_is_fedavg():
    assert run(Sgd(server_lr=1.0), [0.5, -2.0]) == -1.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sgd(server_lr=0.0), "server_lr is 0.0"),
        (lambda: Sgd(server_lr=math.inf), "server_lr is inf"),
        (lambda: Momentum(momentum=1.0), "momentum is 1.0"),
        (lambda: Adam(server_lr=1.0, beta_1=-0.1), "beta_1 is -0.1"),
        (lambda: Adam(server_lr=1.0, beta_2=1.0), "beta_2 is 1.0"),
        (lambda: Yogi(server_lr=1.0, adaptivity=0.0), "adaptivity is 0.0"),
        (lambda: Adagrad(server_lr=math.nan), "server_lr is nan"),
    ],
)
def test_settings_without_a_meaning_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
