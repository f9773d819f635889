"""The people of all schedules of the services, and the database and the folder that are emptied in between."""

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from uuid import UUID

from django.db import connection, transaction

from hansa.server.accounts import presence
from hansa.server.accounts.models import User
from hansa.server.blobs.models import Blob
from hansa.server.notifications.models import Notification
from hansa.server.registry.models import Calibration, Metric, Model, ModelVersion
from hansa.server.trainings.models import Event, Participation, Round, Task, Training, Update
from simulation.machine import Machine
from simulation.schedules import SMALL, Schedule, play
from simulation.services import Services
from simulation.surroundings import Surroundings
from simulation.timeline import Timeline

TABLES = (
    *(Event, Update, Task, Round, Participation, Training),
    *(Metric, Calibration, ModelVersion, Model, Notification, Blob),
)
MAX_CLIENTS = 8
MEMORY = Path("/dev/shm")  # noqa: S108  # where there is one, files are in memory


class Realm:
    """Who takes part in schedules, and where they are played."""

    def __init__(self) -> None:
        ids = Random("people")  # noqa: S311  # repeatable, not secret
        people = [User(id=UUID(bytes=ids.randbytes(16)), username=f"client-{n}") for n in range(MAX_CLIENTS)]
        self.actor = User(id=UUID(bytes=ids.randbytes(16)), username="actor", actor=True)
        self.clients = User.objects.bulk_create(people)
        self.actor.save(force_insert=True)
        self._folder = tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.home = Path(self._folder.name) / "home"

    def play(self, seed: int) -> Timeline:
        """The schedule of a seed, on an empty database and an empty disk."""
        with ExitStack() as until_it_is_over:
            return play(seed, partial(self.serve, until_it_is_over), world="services", sizes=SMALL)

    def serve(self, until: ExitStack, schedule: Schedule, timeline: Timeline, machine: Machine) -> Services:
        """The services with the trainings of a schedule in an empty database; installed until that stack is closed."""
        self.empty()
        around = Surroundings(self.home, timeline, machine)
        until.enter_context(around.installed(schedule.seed))
        made = Services(schedule, around, self.clients, self.actor)
        # Only now: while its rows are being made nothing dies.
        around.begun = made.begin_beside
        around.passed, around.moved, around.offered = made.passed, made.hear_moved, made.hear_offered
        return made

    @staticmethod
    def empty() -> None:
        """Delete all that a schedule may have left."""
        presence.forget()
        with transaction.atomic(), connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table._meta.db_table}")  # noqa: S608  # names of our own
            cursor.execute("UPDATE accounts_user SET message_endpoint = ''")
