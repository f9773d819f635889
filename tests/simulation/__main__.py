"""Play schedules from a shell: one that has failed, with its trace, or as many as there is patience for.

What the services do is played on SQLite, or with HANSA_TEST_DATABASE_URL set on a new database of that PostgreSQL. A
seed is another schedule there: services have their commits to themselves.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from simulation.schedules import ScheduleFailedError
from simulation.timeline import Timeline
from support import databases


@contextmanager
def closing_databases() -> Iterator[None]:
    """What was made for the schedules goes with them."""
    try:
        yield
    finally:
        databases.drop_all()


def main() -> int:
    """0 if all held, 1 at the first that did not."""
    said = _arguments()
    with tempfile.TemporaryDirectory() as folder, closing_databases():
        play = _player(said.world, Path(folder))
        first = said.seed if said.seed is not None else int(time.time())
        print(f"{said.world}: seeds {first} to {first + said.schedules - 1}")
        try:
            for seed in range(first, first + said.schedules):
                _show(play(seed), said)
        except ScheduleFailedError as failure:
            print("\n".join(failure.trace) if said.trace else failure)
            print(str(failure).splitlines()[0])
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("world", choices=["rounds", "services"])
    parser.add_argument("--seed", type=int, help="the first schedule; default: from the clock")
    parser.add_argument("--schedules", type=int, default=1, help="how many")
    parser.add_argument("--trace", action="store_true", help="a line for each event")
    parser.add_argument("--digest", action="store_true", help="the digest of each trace")
    return parser.parse_args()


def _player(world: str, folder: Path) -> Callable[[int], Timeline]:
    if world == "rounds":
        from simulation.memory import play_rounds

        return play_rounds
    _prepare_database(folder)
    from simulation.realm import Realm

    return Realm().play


def _prepare_database(folder: Path) -> None:
    """An empty database, for whose files nobody waits; never the one that HANSA_DATABASE_URL may name."""
    os.environ["HANSA_HOME"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "hansa.server.settings"
    os.environ.pop("HANSA_DATABASE_URL", None)
    os.environ.update(databases.settings_of(folder))
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    if not databases.on_postgresql():
        connection.settings_dict["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
    call_command("migrate", verbosity=0)


def _show(timeline: Timeline, said: argparse.Namespace) -> None:
    if said.trace:
        print("\n".join(timeline.trace))
    if said.digest:
        print(timeline.digest())


if __name__ == "__main__":
    sys.exit(main())
