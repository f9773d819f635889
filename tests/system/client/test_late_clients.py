"""A client of the SDK that is slower than its round: where late updates are folded, its work counts in the next."""

import signal

import numpy as np
import pytest

from hansa.core.staleness import weight
from hansa.formats.safetensors import read
from system.processes import eventually


def test_a_slow_client_works_on_and_its_update_counts_in_the_next_round(
    api, model, enrolled, started, finished, tmp_path
):
    (slow_name, slow), (quick_name, quick) = enrolled(), enrolled()
    training = started(slow_name, quick_name, rounds=2, closing={"quorum": 1}, late={"kind": "fold"})
    for client in (slow, quick):
        client.start(HOLD="1").until("training")
    (quick.folder / "go-1").touch()
    eventually(lambda: api.training(training).round == 2, "the second round is open")
    (slow.folder / "go-1").touch()
    slow.until("Reported")
    (quick.folder / "go-2").touch()
    assert finished(training) == "completed"

    (folded,) = api.round(training, 2).folded
    assert (folded.username, folded.round, folded.staleness) == (slow_name, 1, 1)
    api.download(model, 2, tmp_path / "trained.safetensors")
    lightly = weight(10, 1, 0.5)
    mean = np.float32((2.0 * 10 + 1.0 * lightly) / (10 + lightly))
    assert (read(tmp_path / "trained.safetensors")["w"] == mean).all(), "one went on from version 1, one not"
    assert slow.said().count("Dropped") <= 1, "of round 2, which was the last"


@pytest.mark.parametrize("event", ["Trained", "Uploaded"])
def test_a_client_killed_with_a_result_delivers_it_after_its_round_has_closed(api, enrolled, started, finished, event):
    (killed_name, killed), (quick_name, quick) = enrolled(), enrolled()
    plan = {"closing": {"quorum": 1}, "late": {"kind": "fold"}, "evaluation": {"every": 0}}
    training = started(killed_name, quick_name, rounds=2, **plan)
    assert killed.start(DIE_AFTER=event).wait() == -signal.SIGKILL
    quick.start(HOLD="1").until("training")
    (quick.folder / "go-1").touch()
    eventually(lambda: api.training(training).round == 2, "the second round is open")
    killed.start(HOLD="1").until("Reported")
    assert killed.said().count("Trained") == 1
    (quick.folder / "go-2").touch()
    assert finished(training) == "completed"
    (folded,) = api.round(training, 2).folded
    assert (folded.username, folded.round, folded.staleness) == (killed_name, 1, 1)
