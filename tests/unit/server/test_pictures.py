"""Answers as pictures: what is drawn where."""

import math

import pytest

from hansa.protocol.inference import Conformal, InferenceAnswer, Reckoned
from hansa.server.dashboard.pictures import LEFT, MOST_ITEMS, MOST_ROWS, RIGHT, WIDTH, pictures


def answer(inference, *, outputs=None, method="mc_dropout", probabilities=None, conformal=None, **uncertainty):
    reckoned = Reckoned(
        model="m",
        version=1,
        method=method,
        passes=9,
        seed=0,
        outputs=outputs,
        seconds=0.1,
        probabilities=probabilities,
        conformal=conformal,
    )
    return InferenceAnswer(inference=inference, uncertainty=uncertainty, hansa=reckoned)


def entropies(total, data, model):
    return {"predictive_entropy": [total], "expected_entropy": [data], "mutual_info": [model]}


def test_classes_are_drawn_from_the_likeliest_down_on_the_scale_of_probabilities():
    said = answer([[0.1, 0.7, 0.2]], outputs="probabilities", std=[[0.0, 0.1, 0.05]], **entropies(0.8, 0.5, 0.3))

    (picture,) = pictures([said])

    (item,) = picture.items
    assert item.said == "Class 1"
    assert [bar.label for bar in item.bars] == ["class 1", "class 2", "class 0"]
    room = WIDTH - LEFT - RIGHT
    assert item.bars[0].x == pytest.approx(LEFT + 0.7 * room, abs=0.1)
    assert item.bars[0].high - item.bars[0].low == pytest.approx(0.2 * room, abs=0.2)
    assert item.split.data_width == pytest.approx(100 * 0.5 / math.log(3), abs=0.1)
    assert item.split.model_width == pytest.approx(100 * 0.3 / math.log(3), abs=0.1)


def test_values_have_an_interval_of_two_deviations_and_both_versions_one_scale():
    near = answer([[1.0]], outputs="values", std=[[0.5]])
    far = answer([[9.0]], outputs="values", std=[[0.5]])

    first, second = pictures([near, far])

    assert first.items[0].said == f"1 {chr(177)} 0.5"
    whole = WIDTH - LEFT - RIGHT
    for picture, low, high in ((first, 0.0, 2.0), (second, 8.0, 10.0)):
        (bar,) = picture.items[0].bars
        assert (bar.low, bar.high) == pytest.approx((LEFT + low / 10 * whole, LEFT + high / 10 * whole), abs=0.1)


def test_logits_that_nobody_declared_are_drawn_around_zero():
    (picture,) = pictures([answer([[-2.0, 2.0]])])

    assert picture.of_classes
    assert picture.zero == pytest.approx(LEFT + (WIDTH - LEFT - RIGHT) / 2, abs=0.1)
    assert [bar.x for bar in picture.items[0].bars] == [WIDTH - RIGHT, LEFT]


def test_of_many_classes_and_inputs_the_first_are_drawn_and_the_others_counted():
    (picture,) = pictures([answer([[0.001] * 1000] * 50, outputs="probabilities")])

    assert (len(picture.items), picture.more) == (MOST_ITEMS, 50 - MOST_ITEMS)
    assert (len(picture.items[0].bars), picture.items[0].more) == (MOST_ROWS, 1000 - MOST_ROWS)


@pytest.mark.parametrize(
    "undrawable",
    [
        answer([3, 1], method="none"),
        answer([[[1.0]]]),
        answer(1.0),
        answer([[None, 1.0]]),
        answer([[1.0], [1.0, 2.0]]),
        answer([]),
    ],
)
def test_what_is_no_table_of_numbers_has_no_picture(undrawable):
    assert pictures([undrawable]) == [None]


def test_a_spread_of_another_shape_and_entropies_of_pixels_are_left_out():
    odd = answer([[0.5, 0.5]], outputs="probabilities", std=[0.1], predictive_entropy=[[0.1]])

    (picture,) = pictures([odd])

    assert picture.items[0].split is None
    assert [bar.std for bar in picture.items[0].bars] == [None, None]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sets": [[2, 0]]}, "Set at 90 %: {2, 0}. So many of such sets hold the truth, this one or not"),
        (
            {"sets": [[]]},
            "Set at 90 %: empty: no class suits well enough. So many of such sets hold the truth, this one or not",
        ),
        (
            {"low": [[0.25]], "high": [[1.5]]},
            "Interval at 90 %: from 0.25 to 1.5. So many of such intervals hold the truth, this one or not",
        ),
        ({"low": [[None]], "high": [[None]]}, ""),
        ({}, ""),
    ],
)
def test_what_a_level_asked_for_is_said_in_words(given, said):
    rests_on = {"level": 0.9, "rule": "lac", "examples": 9, "clients": 2, "threshold": 0.5, "excess": 0}
    held = Conformal(**rests_on, assumptions=[], **given)

    (picture,) = pictures([answer([[0.5]], outputs="values", conformal=held)])

    assert picture.items[0].held == said
