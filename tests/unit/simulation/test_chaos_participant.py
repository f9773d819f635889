"""What a client's process notes of its receipts."""

import subprocess
import sys
from pathlib import Path

import pytest

from hansa.crashpoints import POINTS, VARIABLE, crash_point, observed, observed_too
from hansa.protocol.tasks import TaskKind
from hansa.simulation.chaos.participant import HAS_RECEIPT, Receipt, receipts
from hansa.simulation.chaos.processes import clean_environment

PROGRAM = """
import sys
from pathlib import Path
from types import SimpleNamespace
from hansa.client.events import Leased
from hansa.crashpoints import crash_point, observed_too
from hansa.protocol.tasks import TaskKind
from hansa.simulation.chaos.participant import Receipts

noted = Receipts(Path(sys.argv[1], "receipts.jsonl"))
noted._printed = lambda event: None
with observed_too(noted.passing):
    noted(Leased(SimpleNamespace(id="a-task", kind=TaskKind.TRAIN), resumed=False))
    crash_point("client.trained")
    crash_point("client.reported")
print("went on")
"""


@pytest.mark.parametrize(
    ("point", "noted"),
    [("client.trained", []), (HAS_RECEIPT, [Receipt(task="a-task", kind=TaskKind.TRAIN)])],
    ids=["killed before the report", "killed with the receipt in its hands"],
)
def test_a_receipt_is_noted_as_soon_as_it_is_there(tmp_path: Path, point: str, noted: list[Receipt]):
    environment = {**clean_environment(), VARIABLE: point}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    died = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (died.returncode, died.stdout) == (-9, ""), died.stderr
    assert list(receipts(tmp_path)) == noted


def test_the_point_at_which_it_is_noted_is_in_the_catalogue():
    assert HAS_RECEIPT in POINTS


def test_who_observes_too_is_told_first_and_leaves_the_other_in_place():
    told: list[str] = []
    with observed(lambda name: told.append(f"other {name}")):
        with observed_too(lambda name: told.append(f"mine {name}")):
            crash_point(HAS_RECEIPT)
        crash_point(HAS_RECEIPT)
    assert told == [f"mine {HAS_RECEIPT}", f"other {HAS_RECEIPT}", f"other {HAS_RECEIPT}"]
