"""What a person sees of a running client, on a terminal and in a log."""

import io

import pytest
from rich.console import Console

from hansa.client import events
from hansa.client.reporting import LineReporter, RichReporter, default_reporter, described
from hansa.protocol.tasks import Task, TaskKind


def a_task(kind=TaskKind.TRAIN, attempt=1, params="/api/models/m/versions/2/params/"):
    return Task(
        id="1",
        kind=kind,
        training="t",
        round=3,
        rounds=10,
        attempt=attempt,
        model="m",
        version=2,
        digest="0" * 64,
        size=1_250_000,
        ordinal=0,
        seed=1,
        config={},
        lease_seconds=60.0,
        params=params,
    )


TRAIN, EVALUATE, SWAG = a_task(), a_task(TaskKind.EVALUATE), a_task(TaskKind.SWAG)
RELAYED = a_task(params="/api/tasks/1/base/")

LINES = [
    (events.Waiting("http://host"), "waiting for work at http://host"),
    (events.Leased(TRAIN, resumed=False), "round 3/10: train from version 2"),
    (events.Leased(EVALUATE, resumed=True), "round 3/10: evaluate version 2, done before the restart"),
    (events.Leased(a_task(attempt=2), resumed=False), "round 3/10, attempt 2: train from version 2"),
    (events.Moving(TRAIN, upload=True, done=1, size=2), ""),
    (events.Downloaded(TRAIN, 0.31), "round 3/10: version 2 received, 1.2 MB in 0.3 s"),
    (
        events.Trained(TRAIN, 287, {"loss": 0.123456, "accuracy": 0.9}, 1.24),
        "round 3/10: trained on 287 examples in 1.2 s, loss 0.1235, accuracy 0.9",
    ),
    (events.Trained(EVALUATE, 5, {}, 0.0), "round 3/10: evaluated on 5 examples in 0.0 s"),
    (events.Leased(SWAG, resumed=False), "round 3/10: gather moments around version 2"),
    (events.Trained(SWAG, 5, {}, 0.0), "round 3/10: gathered moments on 5 examples in 0.0 s"),
    (events.Uploaded(SWAG, 1_250_000, 0.1), "round 3/10: moments sent, 1.2 MB in 0.1 s"),
    (events.Leased(RELAYED, resumed=False), "round 3/10: train from another client's model"),
    (events.Downloaded(RELAYED, 0.31), "round 3/10: another client's model received, 1.2 MB in 0.3 s"),
    (events.Uploaded(TRAIN, 1_250_000, 0.1), "round 3/10: update sent, 1.2 MB in 0.1 s"),
    (events.Reported(TRAIN, "accepted"), "round 3/10: reported, accepted"),
    (
        events.Reported(TRAIN, "accepted", late=True),
        "round 3/10: reported, accepted; late, it counts in the next round",
    ),
    (events.Dropped(TRAIN, "the round has closed", failed=False), "round 3/10: dropped: the round has closed"),
    (events.Dropped(TRAIN, "ValueError: no data", failed=True), "round 3/10: failed: ValueError: no data"),
    (events.Reconnecting("no connection.", 3.2), "no connection. Trying again until it works."),
    (events.Stopped("the client was stopped"), "stopped: the client was stopped"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: type(value).__name__)
def test_each_event_is_told_in_one_line(event, line):
    assert described(event) == line


def test_an_outage_is_told_once():
    stream = io.StringIO()
    report = LineReporter(stream)
    for seconds in (0.1, 0.2, 0.4):
        report(events.Reconnecting("no connection.", seconds))
    report(events.Waiting("http://host"))
    report(events.Reconnecting("no connection.", 0.1))
    assert [line.partition(".")[0] for line in stream.getvalue().splitlines()] == [
        "no connection",
        "waiting for work at http://host",
        "no connection",
    ]


def test_what_a_server_says_cannot_steer_the_terminal():
    seen = described(events.Dropped(TRAIN, "\x1b[2Jgone\r\nround 3/10: reported, accepted\u202e", failed=False))
    assert seen == "round 3/10: dropped:  [2Jgone  round 3/10: reported, accepted "


def test_on_a_terminal_results_stay_and_the_rest_passes():
    stream = io.StringIO()
    report = RichReporter(Console(file=stream, force_terminal=True, width=80, highlight=False))
    for event, _ in LINES:
        report(event)
    shown = stream.getvalue()
    assert "trained on 287 examples in 1.2 s, loss 0.1235, accuracy 0.9" in shown
    assert "failed: ValueError: no data" in shown
    assert "stopped: the client was stopped" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back


def test_markup_in_a_reason_is_only_text():
    stream = io.StringIO()
    report = RichReporter(Console(file=stream, force_terminal=True, width=80, highlight=False))
    report(events.Dropped(TRAIN, "[red]not[/nothing] markup", failed=True))
    report(events.Stopped("[bold]"))
    assert "[red]not[/nothing] markup" in stream.getvalue()


def test_without_a_terminal_there_are_plain_lines(capsys):
    report = default_reporter()
    report(events.Reported(TRAIN, "accepted"))
    assert capsys.readouterr().out == "round 3/10: reported, accepted\n"
