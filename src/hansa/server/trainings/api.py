"""What actors call. The messages are in `hansa.protocol.trainings`."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import trainings as wire
from hansa.protocol.models import Detail, Model
from hansa.protocol.tasks import MAX_WAIT_SECONDS
from hansa.rounds import plan as plans
from hansa.server.accounts import repeats
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import MayOwn, caller
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import body, listing, ref, refusals
from hansa.server.trainings import measurements, naming, selectors, trained_models
from hansa.server.trainings.asking import wanted
from hansa.server.trainings.creation import creation
from hansa.server.trainings.models import Training
from hansa.server.trainings.services import trainings
from hansa.server.trainings.waiting import wait_for

LONG_MESSAGE = 4 * 2**20
"""Bytes of a plan, or of a list of clients."""
EITHER_FORM = {"application/json": {"anyOf": [ref(wire.TrainingCreate), ref(wire.TrainingCreateShort)]}}
SETTLE_SECONDS = 0.1
"""How long a change waits for its neighbours before those who watch are told."""


class Trainings(MessageView):
    """The trainings one steers; new trainings."""

    def get_permissions(self) -> list[object]:  # type: ignore[override]  # DRF's stub wants its own base class
        """People make trainings; everybody may list their own."""
        return [MayOwn()] if self.request.method == "POST" else super().get_permissions()  # type: ignore[return-value]  # as above

    @extend_schema(responses={200: listing(wire.Training)})
    async def get(self, request: Request) -> Response:
        """List the trainings whose actor one is, oldest first."""
        return Response(await read(selectors.steered, caller(request)))

    @extend_schema(
        parameters=[repeats.KEY_PARAMETER],
        request=EITHER_FORM,
        responses={201: ref(wire.TrainingCreated), **refusals(403, 404, 409, 422)},
    )
    async def post(self, request: Request) -> Response:
        """Create a training. If the model has one already, a copy of it is trained: read `model_id`."""
        with repeats.keyed(request) as key:
            message = await self.message(dict[str, Any], limit=LONG_MESSAGE)  # Any: any JSON
            once = key.once(wire.TrainingCreated, message)
            answer = await once.first_answer()
            if answer is None:
                answer = await call(once.make, await creation(caller(request), wanted(message)), _created)
        return Response(answer, status=201)


class RelatedTrainings(MessageView):
    """The trainings one may see."""

    @extend_schema(responses={200: listing(wire.Training)})
    async def get(self, request: Request) -> Response:
        """List the trainings one steers or takes part in, oldest first; superusers see all."""
        return Response(await read(selectors.related, caller(request)))


class TrainingDetail(MessageView):
    """One training."""

    @extend_schema(
        parameters=[
            OpenApiParameter("wait", float, description="Seconds to wait for a change, 0 to 120."),
            OpenApiParameter("revision", int, description="The revision one knows."),
        ],
        responses={200: ref(wire.TrainingDetail)},
    )
    async def get(self, request: Request, training_id: UUID) -> Response:
        """The record of a training; with `revision`, waits until it differs from the one known."""
        seconds = self.query_number("wait", default=0, least=0, most=MAX_WAIT_SECONDS)
        known = self.query_number("revision", default=-1, least=-1, most=2.0**53)
        user = caller(request)
        record = await read(selectors.record, user, training_id)
        if seconds == 0 or record.revision != known:
            return Response(record)

        async def look() -> wire.TrainingDetail | None:
            changed = await read(selectors.record, user, training_id)
            return None if changed.revision == known else changed

        await self.unread.body_bytes(limit=0)
        changed = await wait_for(look, key=training_id, seconds=seconds, request=request, settle=SETTLE_SECONDS)
        return Response(changed or record)

    @extend_schema(responses={200: ref(Detail), **refusals(403)})
    async def delete(self, request: Request, training_id: UUID) -> Response:
        """Delete a training with the record of its rounds, and end it if it runs. Its model stays."""
        await read(selectors.steered_training, caller(request), training_id)
        await call(trainings.delete, training_id=training_id, now=timezone.now())
        return Response(Detail(detail="Training removed!"))


class _Steer(MessageView):
    """A change of a training's status by its actor."""

    async def steer(self, request: Request, training_id: UUID, service: Callable[[], None], done: str) -> Response:
        await read(selectors.steered_training, caller(request), training_id)
        await call(service)
        return Response(Detail(detail=done), status=202)


class TrainingStart(_Steer):
    """The beginning of a training."""

    @extend_schema(request=None, responses={202: ref(Detail), **refusals(403, 409, 422)})
    async def post(self, request: Request, training_id: UUID) -> Response:
        """Start an initial training."""
        now = timezone.now()
        return await self.steer(
            request, training_id, lambda: trainings.start(training_id=training_id, now=now), "Training started!"
        )


class TrainingPause(_Steer):
    """A halt."""

    @extend_schema(request=None, responses={202: ref(Detail), **refusals(403, 409)})
    async def post(self, request: Request, training_id: UUID) -> Response:
        """Hand out nothing new until it is resumed."""
        return await self.steer(
            request, training_id, lambda: trainings.pause(training_id=training_id), "Training paused!"
        )


class TrainingResume(_Steer):
    """The end of a halt."""

    @extend_schema(request=None, responses={202: ref(Detail), **refusals(403, 409)})
    async def post(self, request: Request, training_id: UUID) -> Response:
        """Go on after a pause, or after an error was mended."""
        now = timezone.now()
        return await self.steer(
            request, training_id, lambda: trainings.resume(training_id=training_id, now=now), "Training resumed!"
        )


class TrainingCancel(_Steer):
    """The early end of a training."""

    @extend_schema(request=None, responses={202: ref(Detail), **refusals(403, 409)})
    async def post(self, request: Request, training_id: UUID) -> Response:
        """End a training for good. The versions made so far stay."""
        now = timezone.now()
        return await self.steer(
            request, training_id, lambda: trainings.cancel(training_id=training_id, now=now), "Training cancelled!"
        )


class TrainingClients(MessageView):
    """The participants of a training."""

    @extend_schema(request=body(wire.ClientList), responses={202: ref(Detail), **refusals(403, 409)})
    async def put(self, request: Request, training_id: UUID) -> Response:
        """Add clients; they take part from the next round on."""
        clients = await self._named(request, training_id, naming.to_join)
        await call(trainings.add_clients, training_id=training_id, clients=clients)
        return Response(Detail(detail="Users registered as participants!"), status=202)

    @extend_schema(request=body(wire.ClientList), responses={200: ref(Detail)})
    async def delete(self, request: Request, training_id: UUID) -> Response:
        """Remove clients; nobody waits for them any more."""
        clients = await self._named(request, training_id, naming.to_leave)
        await call(trainings.remove_clients, training_id=training_id, clients=clients)
        return Response(Detail(detail="Users removed from training participants!"))

    async def _named(
        self, request: Request, training_id: UUID, find: Callable[[User, Sequence[str]], list[User]]
    ) -> list[User]:
        await read(selectors.steered_training, caller(request), training_id)
        asked = await self.message(wire.ClientList, limit=LONG_MESSAGE)
        return await read(find, caller(request), asked.clients)


class TrainingLeave(MessageView):
    """A participant that goes."""

    @extend_schema(request=None, responses={204: None, **refusals(403)})
    async def post(self, request: Request, training_id: UUID) -> Response:
        """Take part no more: nobody waits for the caller from now on. Once it has left it may leave again."""
        user = caller(request)
        await read(selectors.own_training, user, training_id)
        await call(trainings.leave, training_id=training_id, client=user)
        return Response(status=204)


class TrainingModels(MessageView):
    """The models of a training."""

    @extend_schema(responses={200: listing(Model)})
    async def get(self, request: Request, training_id: UUID) -> Response:
        """The global model, then the local ones that are kept: one's own, and for the actor all."""
        return Response(await read(trained_models.models, caller(request), training_id))


class LatestModels(MessageView):
    """The newest models of a training."""

    @extend_schema(responses={200: listing(Model)})
    async def get(self, request: Request, training_id: UUID) -> Response:
        """The global model, then of every client the newest local one that is kept."""
        return Response(await read(trained_models.latest, caller(request), training_id))


class Rounds(MessageView):
    """The rounds of a training."""

    @extend_schema(responses={200: listing(wire.Round)})
    async def get(self, request: Request, training_id: UUID) -> Response:
        """All attempts at all rounds, oldest first."""
        return Response(await read(selectors.rounds, caller(request), training_id))


class RoundDetail(MessageView):
    """One round."""

    @extend_schema(responses={200: ref(wire.Round)})
    async def get(self, request: Request, training_id: UUID, number: int) -> Response:
        """The newest attempt at a round, with what every client did in it."""
        return Response(await read(selectors.round_detail, caller(request), training_id, number))


class TrainingMetrics(MessageView):
    """Learning curves."""

    @extend_schema(responses={200: listing(wire.RoundMetrics)})
    async def get(self, request: Request, training_id: UUID) -> Response:
        """Mean and spread over clients of every metric, by round; to participants no other client's own value."""
        return Response(await read(measurements.metrics, caller(request), training_id))


class PlanSchema(MessageView):
    """What a plan may hold."""

    @extend_schema(responses={200: OpenApiTypes.OBJECT})
    async def get(self, request: Request) -> Response:
        """The JSON Schema of plans."""
        return Response(plans.schema())


@extend_schema(exclude=True)
class FormerPlanSchema(PlanSchema):
    """Where it was at first: clients of then still ask here."""


def _created(training: Training) -> wire.TrainingCreated:
    return wire.TrainingCreated(
        detail="Training created successfully!", training_id=str(training.id), model_id=str(training.model_id)
    )
