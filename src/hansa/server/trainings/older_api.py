"""What older clients send, at the addresses where they send it. Of a round they are told by a notification."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.parsers import BaseParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import models as wire
from hansa.protocol.tasks import TaskKind
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import ref, refusals
from hansa.server.registry.api import ModelDetail
from hansa.server.registry.models import Model
from hansa.server.registry.posting import PostedMetrics
from hansa.server.registry.side_api import ModelMetrics
from hansa.server.registry.upload import form_of
from hansa.server.trainings import older_forms, older_places, older_uploads
from hansa.server.trainings.services import older


class TrainedModel(ModelDetail):
    """One model: its bytes, its end, and the updates of it that older clients send."""

    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser,)

    @extend_schema(request=older_forms.UPDATE, responses={201: ref(wire.Detail), **refusals(403, 409)})
    async def post(self, request: Request, model_id: UUID) -> Response:
        """Send the update of a round, under the model's id or that of the local model it began from.

        The same bytes again are accepted again, be their round over; of different ones the first count.
        """
        user = caller(request)
        place = await read(older_places.place, user, model_id)
        async with form_of(self.unread, limit=place.limit) as form:
            result = older_forms.update_of(form)
            rewrite = partial(older_uploads.rewrite_model, result.files)
            await older_uploads.take(place, user, TaskKind.TRAIN, result, rewrite)
        return Response(wire.Detail(detail="Model Update Accepted"), status=201)


class SwagStatistics(MessageView):
    """The moments of the weights around a version."""

    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser,)

    @extend_schema(request=older_forms.MOMENTS, responses={201: ref(wire.Detail), **refusals(403, 409)})
    async def post(self, request: Request, model_id: UUID) -> Response:
        """Send the moments of a SWAG round; sent again, as for updates."""
        user = caller(request)
        place = await read(older_places.place, user, model_id)
        async with form_of(self.unread, limit=place.moments_limit) as form:
            result = older_forms.moments_of(form)
            rewrite = partial(older_uploads.rewrite_moments, result.files)
            await older_uploads.take(place, user, TaskKind.SWAG, result, rewrite)
        return Response(wire.Detail(detail="SWAG Statistic Accepted"), status=201)


class TrainedModelMetrics(ModelMetrics):
    """What was measured of a model; in a training it completes an evaluation."""

    async def recorded(self, user: User, model: Model, posted: PostedMetrics) -> None:
        """As the result of the caller's evaluation, if its round asks for one now."""
        await call(
            older.accept_metrics,
            user_id=user.id,
            model_id=model.id,
            values=posted.values,
            num_examples=posted.num_examples,
            now=timezone.now(),
        )
