"""Models and their versions. The messages are in `hansa.protocol.models`."""

from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import PermissionDenied, ValidationError
from rest_framework.parsers import BaseParser, JSONParser, MultiPartParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol import models as wire
from hansa.server.accounts import repeats
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.accounts.repeats import Once
from hansa.server.blobs import fetches, serving
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.services import OCTETS, SAFETENSORS
from hansa.server.lifecycle.bridge import call, read, work
from hansa.server.lifecycle.in_place import in_place
from hansa.server.lifecycle.messages import MessageView
from hansa.server.lifecycle.openapi import body, listing, ref, refusals
from hansa.server.lifecycle.rendering import StructJSONRenderer
from hansa.server.registry import creation, downloads, records, rendered, selectors, services, storing
from hansa.server.registry.forms import MODEL_FORM
from hansa.server.registry.inlining import inlined
from hansa.server.registry.models import ModelKind
from hansa.server.registry.upload import Form, form_of

SAFETENSORS_TYPES = (SAFETENSORS, "application/x-safetensors")


class Models(MessageView):
    """The models one may see; new models."""

    parser_classes: Sequence[type[BaseParser]] = (MultiPartParser, JSONParser)

    @extend_schema(responses={200: listing(wire.Model)})
    async def get(self, request: Request) -> Response:
        """List the models one owns, those of the trainings one takes part in, and one's own local models."""
        return Response(await read(records.records, caller(request)))

    @extend_schema(
        parameters=[repeats.KEY_PARAMETER],
        request=MODEL_FORM | body(wire.ModelCreate),
        responses={201: ref(wire.ModelCreated), **refusals(403, 404, 409, 422)},
    )
    async def post(self, request: Request) -> Response:
        """Create a model from a file that torch has saved, or from safetensors; or a mean of models, from their ids."""
        user = caller(request)
        if not user.may_own:
            raise PermissionDenied(
                "Only people may create models; this account was made for a machine. Sign in with a password of your "
                "own, or ask an administrator for the actor role."
            )
        with repeats.keyed(request) as key:
            if self.request.content_type.partition(";")[0].strip() == "application/json":
                said = creation.said(await self.message(wire.ModelCreate))
                answer = await self._created(user, said, None, key.once(wire.ModelCreated, said))
            else:
                async with form_of(self.unread, limit=settings.CONFIG.max_model_bytes) as form:
                    said = creation.said_in_form(form.fields)
                    parts = await work(form.fingerprint) if key.text else ""
                    answer = await self._created(user, said, form, key.once(wire.ModelCreated, said, parts))
        return Response(answer, status=201)

    async def _created(
        self, owner: User, said: creation.NewModel, form: Form | None, once: Once[wire.ModelCreated]
    ) -> wire.ModelCreated:
        if (answer := await once.first_answer()) is not None:
            return answer
        if said.kind == ModelKind.MEAN:
            return await storing.store_mean(owner, said, form, once)
        if form is None:
            raise ValidationError(
                {storing.MODEL_FILE: ["JSON carries no file. Send multipart/form-data with the model."]}
            )
        return await storing.store_model(owner, said, form, once)


# No docstring: schema tools describe a view by the first that they find.
class BytesView(MessageView):  # noqa: D101  # see above
    # A view whose GET answers with bytes: `format` and Accept speak of those, and everything else is JSON.

    @in_place
    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        """JSON, whatever is asked for: who accepts nothing but the bytes shall have them, and a refusal in words."""
        return StructJSONRenderer(), StructJSONRenderer.media_type


class ModelDetail(BytesView):
    """One model: its bytes, and its end."""

    @extend_schema(
        parameters=[
            OpenApiParameter("version", int, description="Its number; left out: the newest."),
            OpenApiParameter("format", str, enum=[downloads.Form.ARCHIVE.value, downloads.Form.SAFETENSORS.value]),
        ],
        responses={
            (200, OCTETS): OpenApiResponse(
                OpenApiTypes.BINARY, "the archive that was uploaded, with new numbers in it"
            ),
            (200, SAFETENSORS): OpenApiResponse(OpenApiTypes.BINARY, "canonical safetensors"),
            304: None,
            **refusals(409),
        },
    )
    async def get(self, request: Request, model_id: UUID) -> HttpResponseBase:
        """Download a model, in the form in which it was uploaded or as safetensors (by `format`, or Accept).

        ETag, If-None-Match, Range and If-Range are understood. A local model is there for as long as it is kept.
        """
        form, number = self._form(), self._version()
        numbers = await read(downloads.numbers_of, caller(request), model_id, number)
        response = await downloads.respond(self.unread, numbers, form)
        patch_vary_headers(response, ["Accept"])
        return response

    def head(self, request: Request, model_id: UUID) -> object:
        """As GET, without the bytes."""
        return self.get(request, model_id)

    @extend_schema(responses={200: ref(wire.Detail), **refusals(403, 409)})
    async def delete(self, request: Request, model_id: UUID) -> Response:
        """Delete a model with its versions, its metrics and its training."""
        model = await read(selectors.deletable_model, caller(request), model_id)
        await call(services.delete_model, model_id=model_id)
        if model.archive_id is not None:
            await work(rendered.drop, model.archive_id)
        return Response(wire.Detail(detail="Model removed!"))

    def _form(self) -> downloads.Form:
        text = self.request.query_params.get("format")
        if text is None:
            wanted = self.unread.get_preferred_type([OCTETS, *SAFETENSORS_TYPES])
            return downloads.Form.SAFETENSORS if wanted in SAFETENSORS_TYPES else downloads.Form.ANY
        if text not in (downloads.Form.ARCHIVE, downloads.Form.SAFETENSORS):
            raise ValidationError(
                {"format": [f"{text[:80]!r} is no form of a model; there are 'pt' and 'safetensors'."]}
            )
        return downloads.Form(text)

    def _version(self) -> int | None:
        text = self.request.query_params.get("version")
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) <= 18):
            raise ValidationError({"version": [f"{text[:80]!r} is no number of a version."]})
        return int(text)


class ModelMetadata(MessageView):
    """One model's record."""

    @extend_schema(responses={200: ref(wire.ModelMetadata)})
    async def get(self, request: Request, model_id: UUID) -> Response:
        """Name, owner, arrays and sizes; layers, if the model's file told of them."""
        shown = await read(records.metadata, caller(request), model_id)
        return Response(await work(inlined, shown))


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


class VersionParams(BytesView):
    """The bytes of one version."""

    @extend_schema(
        responses={(200, SAFETENSORS): OpenApiResponse(OpenApiTypes.BINARY, "canonical safetensors"), 304: None}
    )
    async def get(self, request: Request, model_id: UUID, number: int) -> HttpResponseBase:
        """Download a version. The ETag is its SHA-256; If-None-Match, Range and If-Range are understood."""
        user = caller(request)
        file = await read(selectors.version_file, user, model_id, number)
        return await serving.respond_with(
            self.unread,
            Known.of(file),
            media_type=SAFETENSORS,
            filename=f"model-{model_id}-{number}.safetensors",
            on_sent=fetches.begin(user.id, file.sha256) if self.request.method == "GET" else None,
        )

    def head(self, request: Request, model_id: UUID, number: int) -> object:
        """As GET, without the bytes."""
        return self.get(request, model_id, number)


class VersionMoments(BytesView):
    """The SWAG moments of the weights around one version."""

    @extend_schema(
        responses={
            (200, SAFETENSORS): OpenApiResponse(
                OpenApiTypes.BINARY, "`first_moment` and `second_moment`, all params flattened and joined in one order"
            ),
            304: None,
        }
    )
    async def get(self, request: Request, model_id: UUID, number: int) -> HttpResponseBase:
        """Download the moments, however large. ETag, If-None-Match, Range and If-Range as for `params/`."""
        moments = await read(selectors.moments, caller(request), model_id, number)
        return await serving.respond(
            self.unread,
            digest=moments.sha256,
            media_type=SAFETENSORS,
            filename=f"model-{model_id}-{number}-moments.safetensors",
        )

    def head(self, request: Request, model_id: UUID, number: int) -> object:
        """As GET, without the bytes."""
        return self.get(request, model_id, number)
