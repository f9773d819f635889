"""Clients of the older platform in the services' world: they are told of tasks at an endpoint, and send forms.

The deliverer is the real one; what it sends goes over the simulated network. A form is handed to the code behind its
view, with its file already in the server's own format: to rewrite torch's files is nothing that chance has a part in.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.utils import timezone

from hansa.core.params import ParamSpec
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.blobs.store import BlobFile, new_file
from hansa.server.lifecycle.bridge import call, read
from hansa.server.notifications.deliverer import Deliverer
from hansa.server.notifications.hints import Bell
from hansa.server.notifications.models import State
from hansa.server.notifications.outcomes import Answer
from hansa.server.registry.models import Model
from hansa.server.trainings import older_places, older_uploads
from hansa.server.trainings.models import Task
from hansa.server.trainings.older_forms import Result
from hansa.server.trainings.services import deliveries, older
from simulation.contents import content_of, digests_of
from simulation.coroutines import Turn
from simulation.network import CALM, Network
from simulation.process import Receiver
from simulation.rows import Key
from simulation.timeline import Timeline

Message = dict[str, Any]  # Any: JSON
ANSWER_SECONDS = 5.0
DELIVER_SECONDS = 30.0


class Post:
    """What goes to the endpoints of clients, and what comes back."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline, self.network = timeline, Network(timeline, CALM)
        self.receivers: dict[str, Receiver] = {}
        """By endpoint."""
        self._under_way: set[tuple[str, str]] = set()

    def forget(self) -> None:
        """Who waited for an answer is dead."""
        self._under_way.clear()

    async def tell(self, *, url: str, message_id: UUID, content: bytes) -> Answer:
        """As `Sender.tell`. A message may arrive, and its answer not; or arrive twice."""
        message = json.loads(content)
        line = url, message["training_uuid"]
        assert line not in self._under_way, f"two messages at once to {url}"
        self._under_way.add(line)
        answer = await self._told(url, message)
        self._under_way.discard(line)
        return answer

    async def _told(self, url: str, message: Message) -> Answer:
        await Turn(self.timeline.between(0.001, 2.0))
        receiver, weather = self.receivers.get(url), self.network.weather
        if receiver is None or not receiver.on or self.timeline.chance(weather.loss):
            return await _no_answer()
        if not receiver.hear(message):
            return Answer(State.REJECTED, "it wants nothing of it")
        if self.timeline.chance(weather.duplication):
            self.timeline.after(self.timeline.between(0.1, 60.0), lambda: receiver.on and receiver.hear(message))
        return await _no_answer() if self.timeline.chance(weather.loss) else Answer(State.DELIVERED)

    def close(self) -> None:
        """Nothing is open."""


async def _no_answer() -> Answer:
    await Turn(ANSWER_SECONDS)
    return Answer(State.PENDING, "no answer")


def deliverer_of(post: Post) -> Deliverer:
    """A new one for every life of the process. Its bell is rung by nobody: see `deliver`."""
    return Deliverer(deliveries.take, sender=post, bell=Bell())  # type: ignore[arg-type]  # all that is used of it


async def deliver(deliverer: Deliverer) -> None:
    """As `Deliverer.run`: what is due now."""
    await Turn(min(await deliverer._begin_due(), DELIVER_SECONDS))


def endpoint_of(client: int) -> str:
    return f"https://client-{client}.example/"


async def send_result(user: User, public_id: UUID, kind: TaskKind, contract_round: int, value: int) -> tuple[Key, str]:
    """A form with an update, or moments. Returns whose result it is, and its digest."""
    content, file = content_of(value), new_file()
    file.write_bytes(content)

    def rewrite(spec: ParamSpec, blob: BlobFile) -> None:
        del spec
        blob.write(content)

    place = await read(older_places.place, user, public_id)
    result = Result(contract_round, 1 + value % 50, (Path(file),), {})
    await older_uploads.take(place, user, kind, result, rewrite)
    file.unlink()
    number, digest = place.number(kind, contract_round), digests_of(content).sha256
    theirs = Task.objects.filter(participation__client=user, round__training=place.training_id, kind=kind.value)
    task = theirs.filter(round__number=number, update__digest=digest).order_by("-round__attempt").first()
    return ("" if task is None else str(task.id)), digest


async def post_metrics(user: User, public_id: UUID) -> None:
    """What an evaluation comes to."""
    model = await read(Model.objects.get, id=public_id)
    values: dict[str, float | str] = {"loss": 0.25}
    await call(
        older.accept_metrics, user_id=user.id, model_id=model.id, values=values, num_examples=5, now=timezone.now()
    )
