"""`watch`: a line per round in a log, a table in a terminal, and patience with a server that restarts."""

import io

import pytest
from cli_fakes import FakeApi, a_round, a_training, some_metrics, uid
from msgspec.structs import replace
from rich.console import Console

from hansa.cli.progress import progress, rounds_table, sentence
from hansa.cli.watching import LONGEST_PAUSE_SECONDS, watch
from hansa.client.errors import ApiError, Unreachable


class Story(FakeApi):
    """A training of `rounds` rounds of which one is done at every call; `away`: what some calls raise instead."""

    def __init__(self, rounds, *, away=None):
        super().__init__()
        self.total, self.done, self.away = rounds, 0, dict(away or {})
        self.calls, self.waits = 0, []

    def training(self, training, *, wait=0, revision=None):
        self.calls += 1
        self.waits.append((wait, revision))
        if (error := self.away.get(self.calls)) is not None:
            raise error
        if wait:
            self.done += 1
        self.all_rounds = [a_round(number) for number in range(1, self.done + 1)]
        self.all_metrics = [some_metrics(number, 1 / number, 0.9) for number in range(1, self.done + 1)]
        if over := self.done == self.total:
            return a_training(status="completed", reason="all rounds are done", rounds_done=self.total)
        self.all_rounds.append(a_round(self.done + 1, state="collecting", reported=0, done_at=None))
        return a_training(rounds_done=self.done, revision=self.done, reason="waiting" if not over else "")


def watched(api, **console):
    file = io.StringIO()
    pauses = []
    shown = Console(file=file, width=80, height=24, **console)
    last = watch(api, uid(1), console=shown, sleep=pauses.append)
    return last, file.getvalue(), pauses


def test_a_log_gets_one_line_for_each_thing_that_happened():
    last, text, _ = watched(Story(3))
    assert last.status == "completed"
    assert text.splitlines() == [
        "training ongoing: waiting",
        "round 1 done: 2/2 clients, loss 1.0000, accuracy 0.9000 (0.850..0.950 over clients), 80.6 kB, 3.5 s",
        "round 2 done: 2/2 clients, loss 0.5000, accuracy 0.9000 (0.850..0.950 over clients), 80.6 kB, 3.5 s",
        "round 3 done: 2/2 clients, loss 0.3333, accuracy 0.9000 (0.850..0.950 over clients), 80.6 kB, 3.5 s",
        "training completed: all rounds are done",
    ]


class Excluding(Story):
    """From the second round on Bert is asked no more."""

    def training(self, training, *, wait=0, revision=None):
        record = super().training(training, wait=wait, revision=revision)
        anna, bert = a_training().clients
        return replace(record, clients=[anna, replace(bert, excluded="3 in a row failed") if self.done > 1 else bert])


def test_who_is_excluded_is_told_once_with_what_to_do():
    _, text, _ = watched(Excluding(4))
    assert text.count("bert is excluded: 3 in a row failed\nWhen that is mended: hansa trainings add-clients") == 1
    assert text.count("is excluded") == 1


def test_a_terminal_shows_who_is_excluded_below_the_table():
    _, text, _ = watched(Excluding(4), force_terminal=True)
    assert "all rounds are done\nbert is excluded: 3 in a row failed" in text


def test_the_server_is_asked_to_answer_when_something_has_changed():
    api = Story(2)
    watched(api)
    assert api.waits == [(0, None), (30.0, 0), (30.0, 1)]


def test_a_server_that_restarts_is_waited_for_and_told_of_once():
    away = {2: Unreachable("no connection."), 3: ApiError(503, "unavailable", "starting"), 4: Unreachable("broke off.")}
    last, text, pauses = watched(Story(1, away=away))
    assert last.status == "completed"
    lines = text.splitlines()
    assert lines[1] == "no connection. Trying again."
    assert lines[2] == "the server answers again"
    assert pauses == sorted(pauses)
    assert len(pauses) == 3


def test_a_server_that_is_back_is_told_at_once_though_nothing_has_changed():
    api = Story(1, away={2: Unreachable("no connection.")})
    watched(api)
    assert api.waits == [(0, None), (30.0, 0), (0.0, 0), (30.0, 0)]


def test_pauses_grow_only_so_far():
    _, _, pauses = watched(Story(1, away={call: Unreachable("no") for call in range(2, 30)}))
    assert max(pauses) == LONGEST_PAUSE_SECONDS


def test_a_server_that_is_away_from_the_start_is_an_error():
    with pytest.raises(Unreachable):
        watched(Story(1, away={1: Unreachable("no connection")}))


def test_a_refusal_is_no_reason_for_patience():
    with pytest.raises(ApiError):
        watched(Story(1, away={2: ApiError(404, "not_found", "The training was deleted.")}))


def test_a_terminal_keeps_the_whole_table_at_the_end():
    _, text, _ = watched(Story(30), force_terminal=True, color_system=None)
    kept = text[text.rindex("round  state") :]
    assert len([line for line in kept.splitlines() if " done " in line]) == 30
    assert kept.splitlines()[-1].strip() == "all rounds are done"


def test_a_low_terminal_shows_the_newest_rounds_and_how_many_are_not_shown():
    console = Console(file=io.StringIO(), width=80)
    shown = progress([a_round(number) for number in range(1, 31)], [])
    console.print(rounds_table(shown, newest=5))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "(25 earlier not shown)"
    assert [line.split()[0] for line in lines[2:]] == ["26", "27", "28", "29", "30"]


def test_evaluation_and_training_figures_are_never_mixed():
    trained_only = progress([a_round(1)], [some_metrics(1, 0.5, 0.9)][:0])
    assert (trained_only.lines[0].loss, trained_only.evaluated) == (None, False)
    both = progress([a_round(1), a_round(2)], [some_metrics(1, 0.5, 0.9)])
    assert both.evaluated
    assert both.lines[0].score.mean == 0.9
    assert both.lines[1].score is None


def test_a_trainer_without_accuracy_has_its_own_metric_shown():
    metrics = some_metrics(1, 0.5, 0.9)
    renamed = {"loss": metrics.evaluate["loss"], "f1": metrics.evaluate["accuracy"]}
    shown = progress([a_round(1)], [type(metrics)(round=1, version=1, train={}, evaluate=renamed)])
    assert shown.score == "f1"
    assert shown.lines[0].score.mean == 0.9


@pytest.mark.parametrize(("mean", "said"), [(0.9, "loss 0.9000, accuracy 0.9000, "), (None, "clients, 80.6 kB")])
def test_a_participant_reads_of_means_alone_and_of_none_that_is_one_other_clients(mean, said):
    metrics = some_metrics(1, 0.5, 0.9)
    told = replace(metrics.evaluate["loss"], mean=mean, minimum=None, maximum=None)
    shown = progress([a_round(1)], [replace(metrics, evaluate={"loss": told, "accuracy": told})])
    console = Console(file=io.StringIO(), width=100)
    console.print(rounds_table(shown))

    assert said in sentence(shown.lines[0], shown.score)
    assert "None" not in console.file.getvalue()


def test_the_table_fits_in_80_columns_with_wide_figures():
    console = Console(file=io.StringIO(), width=80)
    metrics = some_metrics(999, 12345.678, 0.9)
    rounds = [a_round(999, cohort=500, reported=500, bytes=123_456_789_000, state="aggregating")]
    console.print(rounds_table(progress(rounds, [metrics])))
    out = console.file.getvalue()
    assert "999  aggregating  500/500  1.235e+04    0.9000  0.850..0.9" in out
    assert "123 GB" in out
    assert len(out.splitlines()) == 3
