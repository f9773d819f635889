"""What comes with a model: its metrics and its preprocessing."""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import BaseParser, FormParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.blobs import serving
from hansa.server.blobs.services import OCTETS
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import body, listing, ref, refusals
from hansa.server.registry import metrics, posting, preprocessing, selectors, services, storing
from hansa.server.registry.api import BytesView
from hansa.server.registry.forms import METRICS_FORM, PREPROCESSING_FORM
from hansa.server.registry.models import MetricKind, Model
from hansa.server.registry.posting import PostedMetrics
from hansa.server.registry.upload import form_of

METRICS_ACCEPTED = "Model Metrics Upload Accepted"
PREPROCESSING_ACCEPTED = "Proprocessing Model Upload Accepted"
"""So the older platform writes it, in the name of the file as well."""


class ModelMetrics(MessageView):
    """What was measured of a model."""

    parser_classes: Sequence[type[BaseParser]] = (FormParser, MultiPartParser, JSONParser)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "kind",
                enum=MetricKind.values,
                description="Only these. Left out: one value for each key, step and reporter, the evaluation's if two.",
            )
        ],
        responses={200: listing(wire.Metric)},
    )
    async def get(self, request: Request, model_id: UUID) -> Response:
        """Oldest first: all for owner and actor, a participant's own; of a local model, those that came with it."""
        return Response(await read(metrics.metrics, caller(request), model_id, self._kind()))

    def _kind(self) -> MetricKind | None:
        text = self.request.query_params.get("kind")
        if text is None:
            return None
        if text not in MetricKind.values:
            raise ValidationError({"kind": [f"{text[:40]!r} is no kind of metric; there are train and evaluate."]})
        return MetricKind(text)

    @extend_schema(
        request=METRICS_FORM | body(wire.MetricsUpload), responses={201: ref(wire.Accepted), **refusals(409)}
    )
    async def post(self, request: Request, model_id: UUID) -> Response:
        """Report what was measured of the model as it is now. Sent again, it replaces what was sent before."""
        user = caller(request)
        model = await read(selectors.measured_model, user, model_id)
        if self.request.content_type.partition(";")[0].strip() == "application/json":
            posted = posting.of_message(await self.message(wire.MetricsUpload, limit=posting.LIMIT))
        else:
            posted = await posting.of_form(self.unread)
        await self.recorded(user, model, posted)
        return Response(wire.Accepted(detail=METRICS_ACCEPTED, model_id=str(model_id)), status=201)

    async def recorded(self, user: User, model: Model, posted: PostedMetrics) -> None:
        """Write what was posted. In a training this is where the caller's task is completed with it."""
        await call(
            services.record_posted_metrics,
            model_id=model.id,
            reporter_id=user.id,
            values=posted.values,
            num_examples=posted.num_examples,
        )


class ModelPreprocessing(BytesView):
    """What prepares the input of a model."""

    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser,)

    @extend_schema(responses={(200, OCTETS): OpenApiResponse(OpenApiTypes.BINARY, "as it was uploaded"), 304: None})
    async def get(self, request: Request, model_id: UUID) -> HttpResponseBase:
        """Download the preprocessing, as it was uploaded; of a local model that of its global one."""
        pipeline = await read(preprocessing.pipeline_of, caller(request), model_id)
        return await serving.respond(
            self.unread,
            digest=pipeline,
            media_type=OCTETS,
            filename=f"model-{model_id}-proprecessing.pt",
            caching=serving.CHANGING,
        )

    def head(self, request: Request, model_id: UUID) -> object:
        """As GET, without the bytes."""
        return self.get(request, model_id)

    @extend_schema(request=PREPROCESSING_FORM, responses={202: ref(wire.Accepted), **refusals(403, 422)})
    async def post(self, request: Request, model_id: UUID) -> Response:
        """Give the model a preprocessing, in place of the one it may have."""
        model = await read(selectors.owned_model, caller(request), model_id)
        async with form_of(self.unread, limit=settings.CONFIG.max_model_bytes) as form:
            await storing.store_preprocessing(model, form)
        return Response(wire.Accepted(detail=PREPROCESSING_ACCEPTED, model_id=str(model_id)), status=202)
