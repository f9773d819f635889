"""Curves and lanes are drawn within their boxes, whatever was measured."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hansa.server.dashboard import charts
from hansa.server.dashboard.charts import HEIGHT, LANE, WIDTH, Point

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def points(draw):
    values = draw(st.lists(st.tuples(FINITE, FINITE, FINITE).map(sorted), min_size=1, max_size=40))
    numbers = sorted(draw(st.sets(st.integers(1, 10**6), min_size=len(values), max_size=len(values))))
    return [Point(number, mean, low, high) for number, (low, mean, high) in zip(numbers, values, strict=True)]


def coordinates(path):
    return [tuple(float(part) for part in pair.split(",")) for pair in path.split()]


@given(points())
@example([Point(1, 1e308, -1e308, 1.7e308)])
@example([Point(1, 5e-324, 0.0, 5e-324), Point(2, 0.0, 0.0, 0.0)])
@example([Point(1, 9.999999999999347e307, 9.999999999999347e307, 9.999999999999347e307)])
@example([Point(1, -1.7e308, -1.7e308, -1.7e308)])
def test_every_point_of_a_curve_lies_in_its_box(measured):
    drawn = charts.curve("loss", measured)

    assert len(coordinates(drawn.line)) == len(measured)
    for x, y in [*coordinates(drawn.line), *coordinates(drawn.band), drawn.last_at]:
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT
    assert all(0 <= tick.at <= HEIGHT for tick in drawn.up)
    assert all(0 <= tick.at <= WIDTH for tick in drawn.across)


@given(points())
def test_the_band_holds_the_line(measured):
    drawn = charts.curve("loss", measured)
    if all(point.low == point.high for point in measured):
        assert drawn.band == "", "no two clients are apart"
        return

    line, band = coordinates(drawn.line), coordinates(drawn.band)
    highest, lowest = band[: len(line)], band[len(line) :][::-1]
    for (_, top), (_, y), (_, bottom) in zip(highest, line, lowest, strict=True):
        assert top <= y <= bottom, "the axis points down"


@given(st.integers(1, 5000), st.integers(2, 400))
def test_a_thinned_curve_has_as_many_points_as_can_be_seen_and_ends_where_it_ended(count, most):
    measured = [Point(number, float(number), -float(number), 2.0 * number) for number in range(1, count + 1)]

    shown = charts.thinned(measured, most)

    assert len(shown) <= most
    assert shown[-1] == measured[-1]
    assert min(point.low for point in shown) == min(point.low for point in measured)
    assert max(point.high for point in shown) == max(point.high for point in measured)
    assert [point.round for point in shown] == sorted({point.round for point in shown})


def test_a_curve_of_one_round_is_a_point_in_the_middle():
    drawn = charts.curve("loss", [Point(7, 0.5, 0.5, 0.5)])

    assert [tick.text for tick in drawn.across] == ["7"]
    assert "0.5" in [tick.text for tick in drawn.up]
    assert drawn.summary == "loss: 0.5 in round 7, 0.5 in round 7"


@given(FINITE, FINITE)
def test_the_numbers_beside_an_axis_go_around_what_is_drawn(one, other):
    low, high = sorted((one, other))
    found = charts.ticks(low, high)

    assert all(math.isfinite(tick) for tick in found) or abs(low) > 1e307 or abs(high) > 1e307
    assert found == sorted(found)
    assert len(found) <= 12


@pytest.mark.parametrize(
    ("moments", "whole", "kinds"),
    [
        ([None, None, None], 10.0, ["waits"]),
        ([2.0, None, None], 10.0, ["waits", "works"]),
        ([2.0, 6.0, None], 10.0, ["waits", "works", "sends"]),
        ([2.0, 6.0, 7.0], 10.0, ["waits", "works", "sends"]),
        ([0.0, 6.0, 6.0], 10.0, ["works"]),
        ([2.0, 1.0, 30.0], 10.0, ["waits", "sends"]),  # clocks that were set, a report that came late
        ([None, None, None], 0.0, []),
        ([-1.0, None, None], -5.0, []),
    ],
)
def test_a_lane_shows_what_a_client_did_and_ends_with_its_round(moments, whole, kinds):
    stretches = charts.lane(list(zip(("waits", "works", "sends"), moments, strict=True)), whole)

    assert [stretch.kind for stretch in stretches] == kinds
    assert all(stretch.at >= 0 and stretch.at + stretch.width <= LANE + 0.5 for stretch in stretches)


def test_a_spark_has_no_line_before_there_are_two_values():
    assert charts.spark([1.0]) == ""
    assert charts.spark([1.0, 1.0]) == "0.0,16.0 120.0,16.0"
    assert charts.spark([0.0, 1.0]) == "0.0,32.0 120.0,0.0"
