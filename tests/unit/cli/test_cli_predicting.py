"""What `hansa models predict` shows of an answer."""

import numpy as np
import pytest

from hansa.cli.predicting import bars


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
