"""The bytes of a model, in the form that a client can load: its archive, or safetensors."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.exceptions import NotAcceptable, ValidationError

from hansa.formats.errors import ModelFileError
from hansa.server.accounts.models import User
from hansa.server.blobs import serving
from hansa.server.blobs.services import OCTETS, SAFETENSORS
from hansa.server.blobs.store import TornBlobError
from hansa.server.lifecycle.errors import ConflictError, NotFoundError
from hansa.server.lifecycle.files import RangedFile
from hansa.server.registry import rendered, selectors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import MeanMember, Model, ModelKind
from hansa.server.registry.rendered import Rendering


class Form(StrEnum):
    """In which form the bytes are wanted."""

    ANY = "any"
    """As the model's owner uploaded it."""
    ARCHIVE = "pt"
    SAFETENSORS = "safetensors"


@dataclass(frozen=True, slots=True)
class Numbers:
    """A version, or a local model, and the archive that its numbers fit into."""

    model_id: UUID
    """As it was asked for."""
    digest: str
    archive: str | None
    is_in_archive: bool
    """Whether the archive itself holds just these numbers."""


def numbers_of(user: User, model_id: UUID, number: int | None) -> Numbers:
    """What is to be sent of a model; `number` None: its newest version.

    Raises NotFoundError, and ConflictError for a mean, which has no bytes of its own.
    """
    found = selectors.model_or_local(user, model_id)
    if isinstance(found, LocalModel):
        return _numbers_of_local(found, number)
    if found.kind == ModelKind.MEAN:
        members = MeanMember.objects.filter(mean=found).order_by("position").values_list("member_id", flat=True)
        raise ConflictError(
            f"The model is a mean and has no bytes of its own. Download its members: {', '.join(map(str, members))}."
        )
    version = selectors.version_row(found, number)
    return _numbers(found, found, version.blob_id)


def _numbers_of_local(local: LocalModel, number: int | None) -> Numbers:
    if number is not None:
        raise ValidationError({"version": [f"{local.id} is a local model; it has no versions. Leave this out."]})
    if local.digest is None:
        raise NotFoundError(local.why_not_here)
    return _numbers(local, selectors.row_of(Model.objects.all(), local.base_id), local.digest)


def _numbers(asked: Model | LocalModel, model: Model, digest: str) -> Numbers:
    return Numbers(
        model_id=asked.id,
        digest=digest,
        archive=model.archive_id,
        is_in_archive=digest == model.archive_params,
    )


async def respond(request: HttpRequest, numbers: Numbers, form: Form) -> HttpResponseBase:
    """Answer a GET or HEAD for the bytes of a model.

    Raises NotAcceptable for an archive where there is none, ConflictError where it cannot take the numbers, and as
    `serving.respond`.
    """
    if numbers.archive is None and form is Form.ARCHIVE:
        raise NotAcceptable(
            "The model was created from safetensors; there is no torch archive to put its numbers into. Ask for "
            "?format=safetensors, or create it from a file that torch has saved."
        )
    name = f"model-{numbers.model_id}"
    if numbers.archive is None or form is Form.SAFETENSORS:
        return await serving.respond(
            request,
            digest=numbers.digest,
            media_type=SAFETENSORS if form is Form.SAFETENSORS else OCTETS,
            filename=f"{name}.safetensors",
            caching=serving.CHANGING,
        )
    if numbers.is_in_archive:
        return await serving.respond(
            request,
            digest=numbers.archive,
            media_type=OCTETS,
            filename=f"{name}.pt",
            caching=serving.CHANGING,
        )
    known = [await serving.known_blob(digest) for digest in (numbers.archive, numbers.digest)]
    return await _respond_rendered(request, Rendering(*known), f"{name}.pt")


async def _respond_rendered(request: HttpRequest, rendering: Rendering, filename: str) -> HttpResponseBase:
    try:
        size = await rendered.size_of(rendering)
    except ModelFileError as error:
        raise ConflictError(
            f"The model's archive cannot take these numbers: {error} Or ask for ?format=safetensors."
        ) from error
    except TornBlobError as error:
        raise serving.BlobDamagedError(error.digest) from error
    file = RangedFile(
        source=rendering.open,
        size=size,
        etag=rendering.etag,
        media_type=OCTETS,
        filename=filename,
        headers={"Cache-Control": serving.CHANGING},
    )
    return file.respond(request)
