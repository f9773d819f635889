"""Killed at random times while a training runs and others call: the same end as without, however often.

The times come from a seed that is printed with a failure; where exactly a process is then, nobody knows.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from crash_scenarios import Scenario
from crash_supervision import Caller, supervised_client
from crash_verdict import Undisturbed, all_died, sound
from crash_world import CLIENTS, Prepared, World, world

LONGEST_LIFE = 3.0
"""Seconds. A server that dies before it has begun to serve is one of the cases, not every one."""
CALLERS = 4
KILLS = 12
ROUNDS = 12


@pytest.mark.crash_points
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_a_server_and_a_client_killed_at_many_moments_under_load_end_as_if_nobody_was(
    seed: int, prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    print(f"seed {seed}")
    rng = Random(seed)  # noqa: S311  # repeatable, not secret
    dying, *others = CLIENTS
    with world(prepared, tmp_path) as shaken:
        training = shaken.training(rounds=ROUNDS)
        shaken.start(training)
        state, token = tmp_path / "dying", shaken.tokens[dying]
        with (
            shaken.at_work(others),
            supervised_client(shaken.server, state, token, []) as client,
            load_on(shaken),
        ):
            for _ in range(KILLS):
                rng.choice([shaken.server, client]).kill_at(rng.uniform(0.0, LONGEST_LIFE))
            shaken.ended(training, meanwhile=client.alive)
        assert len(shaken.server.died_at) + len(client.died_at) == KILLS
        all_died(shaken, len(shaken.server.died_at))
    sound(shaken, undisturbed.outcome(Scenario(averaging_for_long, ())))


def averaging_for_long(quiet: World) -> None:
    training = quiet.training(rounds=ROUNDS)
    quiet.start(training)
    with quiet.at_work():
        quiet.ended(training)


@contextmanager
def load_on(under: World) -> Iterator[None]:
    """Callers who make and revoke tokens as fast as they are answered."""
    over = threading.Event()

    def call() -> None:
        caller = Caller(under.server, under.root.token)
        while not over.is_set():
            made = caller.post("tokens/", {"name": "load"})
            caller("DELETE", f"tokens/{made['id']}/", done=(404,))

    threads = [threading.Thread(target=call) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
