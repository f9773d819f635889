"""What a person reads of updates that came late."""

import io

import pytest
from cli_fakes import a_round, a_task, a_training, some_metrics
from rich.console import Console

from hansa.cli.progress import progress, rounds_table, sentence
from hansa.cli.record import plan_line
from hansa.cli.words import latecomers
from hansa.core.staleness import factor
from hansa.protocol.trainings import FoldedUpdate
from hansa.rounds.plan import parse, to_data


def late(number, staleness, username="bob"):
    return FoldedUpdate(
        client=username,
        username=username,
        ordinal=0,
        round=number,
        staleness=staleness,
        factor=factor(staleness, 0.5),
        weight=None,
        digest=None,
    )


FOURTH = a_round(4, folded=[late(2, 2), late(3, 1), late(3, 1, "carol")])


def test_late_updates_are_told_by_their_rounds_and_weights():
    assert latecomers(FOURTH) == [
        "1 late update of round 2 counted with weight 0.58",
        "2 late updates of round 3 counted with weight 0.71",
    ]
    assert latecomers(a_round(4)) == []


def test_in_an_attempt_that_came_to_nothing_none_counted():
    abandoned = a_round(4, state="abandoned", folded=[late(3, 1)])

    assert latecomers(abandoned) == []
    assert "late" not in sentence(progress([abandoned], []).lines[0], "accuracy")


def test_the_table_and_the_log_tell_of_them_too():
    shown = progress([a_round(3), FOURTH], [some_metrics(4, 0.5, 0.9)])
    file = io.StringIO()
    Console(file=file, width=80).print(rounds_table(shown))
    rows = [line.split() for line in file.getvalue().splitlines()]

    assert any(row[:5] == ["4", "done", "2/2", "+3", "late"] for row in rows)
    assert sentence(shown.lines[1], "accuracy").startswith(
        "round 4 done: 2/2 clients, 1 late update of round 2 counted with weight 0.58; 2 late updates of round 3"
    )


@pytest.mark.usefixtures("alice")
def test_a_round_says_whose_update_came_late_and_where_it_counts(hansa, api):
    late_one = a_task(21, state="closed", late=True, counts_in=3, weight=None, reason="round 2 closed without it")
    api.round = lambda training, number: a_round(number, tasks=[late_one], folded=[late(1, 1)])
    out = hansa("trainings", "show", "first", "--round", "2").out

    assert "1 late update of round 1 counted with weight 0.71" in out
    (annas,) = [line for line in out.splitlines() if line.startswith("anna")]
    assert "late" in annas
    assert "counts in round 3" in annas


def test_the_plan_says_how_late_updates_count():
    plan = to_data(parse({"rounds": 3, "late": {"kind": "fold", "exponent": 0.5, "max_staleness": 2}}))

    assert "late updates count (1 + rounds late)^-0.5, up to 2 late" in plan_line(a_training(plan=plan))
    assert "late" not in plan_line(a_training())
