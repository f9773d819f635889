"""A training's plan in a line says how its versions are calibrated."""

import pytest
from cli_fakes import a_training

from hansa.cli.record import plan_line
from hansa.rounds.plan import parse, to_data

WORDS = {
    "versions get a temperature, sets of a level by the score lac": {"temperature": True, "scores": "lac"},
    "intervals of a level by the score residual": {"scores": "residual"},
    "": {},
}


@pytest.mark.parametrize("words", WORDS)
def test_the_plan_says_how_versions_are_calibrated(words):
    plan = {"rounds": 3, "uncertainty": {"calibration": WORDS[words]}}
    line = plan_line(a_training(plan=to_data(parse(plan))))

    assert line.endswith(words)
    assert words or "level" not in line
