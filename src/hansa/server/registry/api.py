"""Models and their versions. The messages are in `hansa.protocol.models`."""

from functools import partial
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.formats.errors import ModelFileError
from hansa.protocol import models as wire
from hansa.server.accounts.permissions import caller
from hansa.server.blobs import serving
from hansa.server.blobs.services import SAFETENSORS, keep
from hansa.server.lifecycle.bridge import call, compute, read
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import listing, ref
from hansa.server.registry import selectors, services
from hansa.server.registry.ingest import ingest
from hansa.server.registry.upload import read_form

MODEL_FORM = {
    "multipart/form-data": {
        "type": "object",
        "required": ["name", "model_file"],
        "properties": {
            "name": {"type": "string", "maxLength": 256},
            "description": {"type": "string"},
            "model_file": {"type": "string", "format": "binary", "description": "safetensors"},
            "buffers": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Names of arrays that are buffers; left out: as the file's metadata says, else none.",
            },
        },
    }
}

ALL_PARAMS = (
    "The file does not say which arrays are buffers (such as running means), so all are taken as params. "
    "If it has buffers, create the model again and name them in the field 'buffers'."
)


class Models(MessageView):
    """The models one may see; new models."""

    parser_classes = (MultiPartParser,)

    @extend_schema(responses={200: listing(wire.Model)})
    async def get(self, request: Request) -> Response:
        """List the models one owns, and those of the trainings one takes part in."""
        return Response(await read(selectors.records, caller(request)))

    @extend_schema(request=MODEL_FORM, responses={201: ref(wire.ModelCreated)})
    async def post(self, request: Request) -> Response:
        """Create a model from a safetensors file; it becomes version 0."""
        user = caller(request)
        if not user.may_act:
            raise PermissionDenied("Only actors may create models. Ask an administrator for the actor role.")
        form = await read_form(self.unread, limit=settings.CONFIG.max_model_bytes)
        try:
            with form.file as file:
                ingested = await compute(ingest, Path(file.temporary_file_path()), buffers=form.buffers)
        except ModelFileError as error:
            raise InvalidError(str(error), error.code) from error
        create = partial(
            services.create_model,
            owner=user,
            name=form.name,
            description=form.description,
            spec=ingested.spec,
            digests=ingested.digests,
            now=timezone.now(),
        )
        model = await keep(ingested.file, ingested.digests.sha256, partial(call, create))
        warning = "" if ingested.kinds_known else ALL_PARAMS
        answer = wire.ModelCreated(detail="Model Upload Accepted", model_id=str(model.id), warning=warning)
        return Response(answer, status=201)


class ModelDetail(MessageView):
    """One model."""

    @extend_schema(responses={200: ref(wire.Detail)})
    async def delete(self, request: Request, model_id: UUID) -> Response:
        """Delete a model with its versions, its metrics and its training."""
        await read(selectors.owned_model, caller(request), model_id)
        await call(services.delete_model, model_id=model_id)
        return Response(wire.Detail(detail="Model removed!"))


class ModelMetadata(MessageView):
    """One model's record."""

    @extend_schema(responses={200: ref(wire.Model)})
    async def get(self, request: Request, model_id: UUID) -> Response:
        """Name, owner, arrays and sizes."""
        return Response(await read(selectors.record, caller(request), model_id))


class Versions(MessageView):
    """The versions of a model."""

    @extend_schema(responses={200: listing(wire.ModelVersion)})
    async def get(self, request: Request, model_id: UUID) -> Response:
        """List all versions with their digests and lineage."""
        return Response(await read(selectors.versions, caller(request), model_id))


class VersionDetail(MessageView):
    """One version."""

    @extend_schema(responses={200: ref(wire.ModelVersion)})
    async def get(self, request: Request, model_id: UUID, number: int) -> Response:
        """Digest, size and lineage of one version."""
        return Response(await read(selectors.version, caller(request), model_id, number))


class VersionParams(MessageView):
    """The bytes of one version."""

    @extend_schema(
        responses={(200, SAFETENSORS): OpenApiResponse(OpenApiTypes.BINARY, "canonical safetensors"), 304: None}
    )
    async def get(self, request: Request, model_id: UUID, number: int) -> HttpResponseBase:
        """Download a version. The ETag is its SHA-256; If-None-Match, Range and If-Range are understood."""
        version = await read(selectors.version, caller(request), model_id, number)
        return serving.respond(
            self.unread,
            digest=version.digest,
            size=version.size,
            media_type=SAFETENSORS,
            filename=f"model-{model_id}-{number}.safetensors",
        )

    def head(self, request: Request, model_id: UUID, number: int) -> object:
        """As GET, without the bytes."""
        return self.get(request, model_id, number)


class ModelMetrics(MessageView):
    """What clients reported of a model."""

    @extend_schema(responses={200: listing(wire.Metric)})
    async def get(self, request: Request, model_id: UUID) -> Response:
        """All metrics, oldest first."""
        return Response(await read(selectors.metrics, caller(request), model_id))
