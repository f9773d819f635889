"""Every call of the round protocol is answered as it must be, whoever calls when, however often, wherever it dies."""

from contextlib import closing

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from round_machine import RoundProtocol

from hansa.server.trainings.services import tasks
from simulation.realm import Realm


def test_each_call_is_answered_as_it_must_be_and_what_is_acknowledged_stays(transactional_db: None) -> None:
    RoundProtocol.realm = Realm()
    # A failure is shown as it was found: to shrink it on a real database takes longer than a test may.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    run_state_machine_as_test(
        RoundProtocol,
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None, print_blob=True, phases=phases),
    )


def test_the_machine_notices_a_receipt_for_other_bytes_than_those_that_count(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "_same_receipt", lambda task, report: tasks._receipt(task, report.digest, None))
    RoundProtocol.realm = Realm()
    with closing(RoundProtocol()) as machine:
        machine.begin(closing={"min_reports": 3}, late={"kind": "discard"})
        task = machine.work(client=1, value=0, dies=None)
        machine.report(task=task, client=None, value=0, dies=None)
        with pytest.raises(AssertionError, match="digest_conflict was wanted"):
            machine.report(task=task, client=None, value=1, dies=None)
