"""New models on their way into the store: files checked, blobs placed, rows written; or nothing of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from django.utils import timezone
from rest_framework.exceptions import ValidationError

from hansa.crashpoints import crash_point
from hansa.formats.errors import ModelFileError
from hansa.protocol.models import ModelCreated
from hansa.server.accounts.models import User
from hansa.server.accounts.repeats import Once
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.services import keep_all
from hansa.server.lifecycle.bridge import call, compute, work
from hansa.server.lifecycle.errors import InvalidError
from hansa.server.registry import preprocessing, services
from hansa.server.registry.creation import NewModel
from hansa.server.registry.ingest import Ingested, ingest
from hansa.server.registry.models import Model
from hansa.server.registry.upload import Form

MODEL_FILE = "model_file"
PREPROCESSING_FILE = "model_preprocessing_file"
CREATED = "Model Upload Accepted"
ALL_PARAMS = (
    "The file does not say which arrays are buffers (such as running means), so all are taken as params. "
    "If it has buffers, create the model again and name them in the field 'buffers'."
)


async def store_model(owner: User, said: NewModel, form: Form, once: Once[ModelCreated]) -> ModelCreated:
    """A new model from the files of a form. Raises ValidationError for a missing file, InvalidError for a bad one."""
    path = form.path(MODEL_FILE)
    if path is None:
        raise ValidationError(
            {MODEL_FILE: ["No file with this name came. Send the model as torch has saved it, or as safetensors."]}
        )
    buffers = frozenset(form.fields.getlist("buffers")) if "buffers" in form.fields else None
    pipeline = form.path(PREPROCESSING_FILE)
    digests = await _examined(pipeline) if pipeline else None
    async with _ingested(path, buffers) as ingested:
        crash_point("models.ingested")
        files = {ingested.digests.sha256: ingested.file}
        if ingested.archive:
            files[ingested.archive.sha256] = path
        create = partial(
            services.create_model, owner=owner, said=said, ingested=ingested, preprocessing=digests, now=timezone.now()
        )
        answer = partial(_answer, warning="" if ingested.kinds_known else ALL_PARAMS)
        return await keep_all(files | _placing(pipeline, digests), partial(call, once.make, create, answer))


async def store_mean(owner: User, said: NewModel, form: Form | None, once: Once[ModelCreated]) -> ModelCreated:
    """A new mean of models; in a form it may bring a preprocessing of its own."""
    pipeline = form.path(PREPROCESSING_FILE) if form else None
    digests = await _examined(pipeline) if pipeline else None
    create = partial(services.create_mean, owner=owner, said=said, preprocessing=digests, now=timezone.now())
    return await keep_all(_placing(pipeline, digests), partial(call, once.make, create, _answer))


def _answer(model: Model, warning: str = "") -> ModelCreated:
    return ModelCreated(detail=CREATED, model_id=str(model.id), warning=warning)


async def store_preprocessing(model: Model, form: Form) -> None:
    """Another preprocessing for a model. Raises as `store_model`."""
    pipeline = form.path(PREPROCESSING_FILE)
    if pipeline is None:
        raise ValidationError(
            {PREPROCESSING_FILE: ["No file with this name came. Send a module that torch has saved."]}
        )
    digests = await _examined(pipeline)
    note = partial(services.set_preprocessing, model_id=model.id, digests=digests, now=timezone.now())
    await keep_all(_placing(pipeline, digests), partial(call, note))


@asynccontextmanager
async def _ingested(path: Path, buffers: frozenset[str] | None) -> AsyncIterator[Ingested]:
    """The checked model; its canonical file goes again unless it was moved into the store."""
    try:
        ingested = await compute(ingest, path, buffers=buffers)
    except ModelFileError as error:
        raise InvalidError(str(error), error.code) from error
    try:
        yield ingested
    finally:
        await work(ingested.file.unlink, missing_ok=True)


async def _examined(pipeline: Path) -> Digests:
    try:
        return await compute(preprocessing.examine, pipeline)
    except ModelFileError as error:
        raise InvalidError(f"{PREPROCESSING_FILE}: {error}", error.code) from error


def _placing(file: Path | None, digests: Digests | None) -> dict[str, Path]:
    return {digests.sha256: file} if file and digests else {}
