"""Every call of the round protocol is answered as it must be, whoever calls when, however often, wherever it dies."""

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from round_machine import RoundProtocol

from simulation.services import Realm


def test_each_call_is_answered_as_it_must_be_and_what_is_acknowledged_stays(transactional_db: None) -> None:
    RoundProtocol.realm = Realm()
    # A failure is shown as it was found: to shrink it on a real database takes longer than a test may.
    run_state_machine_as_test(
        RoundProtocol,
        settings=settings(
            max_examples=30,
            stateful_step_count=25,
            deadline=None,
            print_blob=True,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
        ),
    )
