"""The simulation can fail: each of these defects, put into the code, is found within a few schedules."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from django.db import transaction

from hansa.crashpoints import crash_point
from hansa.rounds import decide as decisions
from hansa.server.trainings.services import aggregation, closing, rounds, tasks
from simulation.memory import play_rounds
from simulation.process import SimulatedCrash
from simulation.schedules import ScheduleFailedError
from simulation.services import Realm
from simulation.timeline import Timeline

PATIENCE = 60
"""Schedules until it must have been found."""

Patch = pytest.MonkeyPatch


def found(play: Callable[[int], Timeline]) -> ScheduleFailedError:
    """How the first schedule fails that does."""
    for seed in range(PATIENCE):
        try:
            play(seed)
        except ScheduleFailedError as failure:
            return failure
    raise AssertionError(f"{PATIENCE} schedules found nothing")


def counted_in_order_of_arrival(patch: Patch) -> None:
    right = closing._accepted
    patch.setattr(closing, "_accepted", lambda *what: right(*what)[::-1])


def counted_twice(patch: Patch) -> None:
    right = closing._accepted
    patch.setattr(closing, "_accepted", lambda *what: [*right(*what), *right(*what)[-1:]])


def one_is_not_counted(patch: Patch) -> None:
    right = closing._accepted
    patch.setattr(closing, "_accepted", lambda *what: right(*what)[:1])


def weighted_wrongly(patch: Patch) -> None:
    right = aggregation._lines
    patch.setattr(
        aggregation, "_lines", lambda *what: [(line[0], line[1], line[2] + line[0], line[3]) for line in right(*what)]
    )


def acknowledged_before_it_is_durable(patch: Patch) -> None:
    right = tasks.report

    def forgetful(**what: Any) -> Any:
        with transaction.atomic():
            receipt = right(**what)
            transaction.set_rollback(what["report"].num_examples % 5 == 0)
        return receipt

    patch.setattr(tasks, "report", forgetful)


@contextmanager
def not_at_once(name: str) -> Iterator[None]:
    """As `change`, without its transaction."""
    yield
    crash_point(f"{name}.written")
    crash_point(f"{name}.committed")


def written_in_two_steps(patch: Patch) -> None:
    """And the process dies between them, the first time."""
    right, times = tasks._accept_update, count()

    def in_between(*what: Any) -> None:
        right(*what)
        if next(times) == 0:
            raise SimulatedCrash("in between")

    patch.setattr(tasks, "change", not_at_once)
    patch.setattr(tasks, "_accept_update", in_between)


def open_tasks_forgotten(patch: Patch) -> None:
    patch.setattr(closing, "close_tasks", lambda of, reason: None)


def updates_released_too_early(patch: Patch) -> None:
    right = closing.close_round

    def hasty(decision: Any, training: Any, now: Any) -> None:
        right(decision, training, now)
        closing.release_updates(training=training, rounds_done=training.rounds_done + 1)

    patch.setattr(rounds, "close_round", hasty)


def leases_that_never_end(patch: Patch) -> None:
    patch.setattr(decisions, "_lease_ended", lambda current, now: False)


def closed_with_too_few(patch: Patch) -> None:
    patch.setattr(decisions, "min_reports", lambda plan, cohort: 1)


def never_given_up(patch: Patch) -> None:
    """The deadline, and those who do not come."""
    patch.setattr(decisions, "OFFER_SECONDS", 10.0**9)


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (counted_in_order_of_arrival, "is not canonical"),
        (counted_twice, "is not canonical"),
        (one_is_not_counted, "round 1 accepted"),
        (weighted_wrongly, "is not the mean"),
        (acknowledged_before_it_is_durable, "the acknowledged report"),
        (written_in_two_steps, "IntegrityError"),
        (open_tasks_forgotten, "its round is"),
        (updates_released_too_early, "MissingUpdateError"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_defect_of_the_services_is_found(
    defect: Callable[[Patch], None], words: str, monkeypatch: Patch, transactional_db: None
) -> None:
    realm = Realm()
    defect(monkeypatch)
    assert words in str(found(realm.play))


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (leases_that_never_end, "no end after"),
        (never_given_up, "no end after"),
        (closed_with_too_few, "are needed"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_a_defect_of_the_rules_is_found(defect: Callable[[Patch], None], words: str, monkeypatch: Patch) -> None:
    defect(monkeypatch)
    assert words in str(found(play_rounds))


def test_a_failure_names_its_seed_and_is_repeated_by_it(monkeypatch: Patch) -> None:
    leases_that_never_end(monkeypatch)
    failure = found(play_rounds)
    seed = int(str(failure).split("seed=")[1].split(";")[0])
    with pytest.raises(ScheduleFailedError) as again:
        play_rounds(seed)
    assert again.value.trace == failure.trace
    assert f"--seed {seed} --trace" in str(failure)
