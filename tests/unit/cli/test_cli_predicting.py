"""What `hansa models predict` shows of an answer."""

import numpy as np
import pytest

from hansa.cli.predicting import bars, held
from hansa.protocol.inference import Conformal


@pytest.mark.parametrize("width", [80, 40, 24])
def test_each_class_has_a_line_that_fits_the_terminal_the_likeliest_first(width):
    probabilities = np.array([0.05, 0.6, 0.3, 0.05, *[0.0] * 8])

    lines = [line.plain for line in bars(probabilities, top=4, width=width)]

    assert [line.split()[0] for line in lines] == ["1", "2", "0", "3"]
    assert all(len(line) <= width for line in lines)
    assert lines[0].endswith(" 60.0 %")


def test_what_is_nearly_impossible_has_a_sliver_and_the_impossible_nothing():
    lines = [line.plain for line in bars(np.array([0.9999, 0.0001, 0.0]), top=3, width=80)]

    assert lines[1].split()[1] == "▏"
    assert lines[2].split() == ["2", "0.0", "%"]


KNOWN = {"level": 0.95, "examples": 100, "clients": 3, "excess": 0, "assumptions": []}


def test_a_set_is_told_and_an_empty_one_by_name():
    found = Conformal(rule="lac", threshold=0.5, sets=[[0, 3], []], empty=[1], **KNOWN)
    assert held(found, 0) == ["at 95 %  one of 0, 3"]
    assert held(found, 1) == ["at 95 %  none of the classes"]


def test_an_interval_is_told_with_both_ends():
    found = Conformal(rule="residual", threshold=0.5, low=[[1.0], [-2.5]], high=[[2.0], [7.0]], **KNOWN)
    assert held(found, 1) == ["at 95 %  -2.5 to 7"]


def test_where_there_is_no_threshold_the_reason_is_told():
    found = Conformal(rule="lac", threshold=None, unbounded="too few examples", sets=[[0, 1]], **KNOWN)
    assert held(found, 0) == ["at 95 %  anything: too few examples"]
