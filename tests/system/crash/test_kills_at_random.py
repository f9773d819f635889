"""Killed at random times while a training runs and others call: the same end as without, however often.

The times come from a seed that is printed with a failure; where exactly a process is then, nobody knows.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from crash_scenarios import AVERAGING, Scenario
from crash_supervision import Caller, Supervised, supervised_client
from crash_verdict import Undisturbed, sound
from crash_world import CLIENTS, Prepared, World, world

LONGEST_LIFE = 3.0
"""Seconds. A server that dies before it has begun to serve is one of the cases, not every one."""
CALLERS = 4


@pytest.mark.slow
def test_a_server_and_a_client_killed_at_some_moments_end_as_if_nobody_was(
    prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    shaken(prepared, undisturbed, tmp_path, seed=20261122, kills=3, rounds=2)


@pytest.mark.crash_points
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_a_server_and_a_client_killed_at_many_moments_end_as_if_nobody_was(
    seed: int, prepared: Prepared, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    shaken(prepared, undisturbed, tmp_path, seed=seed, kills=12, rounds=12)


def averaging_for_long(of: World) -> None:
    training = of.training(rounds=12)
    of.start(training)
    with of.at_work():
        of.ended(training)


QUIET = {2: AVERAGING, 12: Scenario(averaging_for_long, ())}
"""By the number of rounds: the same training without a kill."""


def shaken(
    prepared: Prepared,
    undisturbed: Undisturbed,
    folder: Path,
    *,
    seed: int,
    kills: int,
    rounds: int,
) -> None:
    """A training of so many rounds, with so many kills of the server or a client, compared with a quiet one."""
    print(f"seed {seed}")
    rng = Random(seed)  # noqa: S311  # repeatable, not secret
    dying, *others = CLIENTS
    with world(prepared, folder) as under:
        training = under.training(rounds=rounds)
        under.start(training)
        state, token = folder / "dying", under.tokens[dying]
        with under.at_work(others), supervised_client(under.server, state, token, []) as client, load_on(under):
            for _ in range(kills):
                kill_at_random([under.server, client], rng)
            under.ended(training, meanwhile=client.alive)
        assert len(under.server.died_at) + len(client.died_at) == kills
        under.server.until_it_answers()
        assert under.root.get("health/")["pid"] == under.server.pid
    sound(under, undisturbed.outcome(QUIET[rounds]))


def kill_at_random(programs: list[Supervised], rng: Random) -> None:
    """Kill one of them at a moment of its life."""
    program, moment = rng.choice(programs), rng.uniform(0.0, LONGEST_LIFE)
    time.sleep(max(0.0, program.born + moment - time.monotonic()))
    program.kill()


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
