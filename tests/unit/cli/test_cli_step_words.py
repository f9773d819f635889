"""A training's plan in a line names its server step."""

import pytest
from cli_fakes import a_training

from hansa.cli.record import plan_line
from hansa.rounds.plan import parse, to_data
from support.steps import SECTIONS


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])
def test_the_step_and_its_settings_are_told(section):
    line = plan_line(a_training(plan=to_data(parse({"rounds": 3, "server_step": section}))))

    assert f"server step {section['kind']!r} with server_lr {section['server_lr']}" in line


def test_without_one_nothing_is():
    assert "step" not in plan_line(a_training(plan=to_data(parse({"rounds": 3}))))
