"""A new model by a form: its file is dropped, looked at, and told about; or each field has what is wrong there."""

import re
from collections.abc import Sequence
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import TemporaryUploadedFile, UploadedFile
from django.http import QueryDict
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from hansa.protocol.models import ModelCreated
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import MayOwn, caller
from hansa.server.accounts.repeats import Key
from hansa.server.blobs.services import OCTETS
from hansa.server.dashboard.models import NUMBERS, STATE, nature
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.refusals import status_of, wrong_fields
from hansa.server.dashboard.templatetags.dashboard import size
from hansa.server.lifecycle.bridge import read, work
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.registry import creation, storing
from hansa.server.registry.models import Model, ModelVersion
from hansa.server.registry.storing import MODEL_FILE, PREPROCESSING_FILE
from hansa.server.registry.upload import Form

TEXTS = ("name", "description", "input_shape", "buffers")
_SEPARATORS = re.compile("[\\s,;x\N{MULTIPLICATION SIGN}\\[\\]()]+")
FREE = "None"
"""As the API's form writes a dimension that is free."""
_FREE = frozenset({"?", "*", "-", "any", "batch", "none", "null"})


class NewModel(Page):
    """What a model is made from."""

    template = "model_new.html"
    permission_classes = (IsAuthenticated, MayOwn)

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """An empty form."""
        return {"here": "models", "said": {}}

    async def post(self, request: Request) -> HttpResponseBase:
        """Make it, and show what its file was found to be; or the form again, with what is wrong."""
        user = caller(request)
        form = await work(spooled, fields_of(request.POST), request.FILES)
        try:
            check_lengths(form.fields.getlist("input_shape"))
            said = creation.said_in_form(form.fields)
            each_time = Key(user.id, request.path).once(ModelCreated)
            made = await storing.store_model(user, said, form, each_time)
        except (ValidationError, ServiceError) as refusal:
            wrong = wrong_fields(refusal, about=_file_of(refusal))
            typed = {name: request.POST.get(name, "") for name in TEXTS}
            return await self.with_more(request, {"said": typed, "wrong": wrong}, status_of(refusal))
        finally:
            await work(form.close)
        messages.success(request._request, await read(findings, made.model_id))
        if made.warning:
            messages.warning(request._request, made.warning)
        return HttpResponseRedirect(reverse("model-page", args=[made.model_id]))


def _file_of(refusal: ServiceError | ValidationError) -> str:
    """A refusal without fields is of the model's file, unless it begins with the other's name."""
    of_other = isinstance(refusal, ServiceError) and refusal.detail.startswith(PREPROCESSING_FILE)
    return PREPROCESSING_FILE if of_other else MODEL_FILE


def fields_of(posted: QueryDict) -> QueryDict:
    """The page's fields as those of the API's form: lists there are one text here, and what is empty was not said."""
    fields = QueryDict(mutable=True)
    for name in ("name", "description"):
        fields[name] = str(posted.get(name, ""))
    if shape := dimensions(str(posted.get("input_shape", ""))):
        fields.setlist("input_shape", shape)
    if buffers := [word for word in re.split(r"[\s,]+", str(posted.get("buffers", ""))) if word]:
        fields.setlist("buffers", buffers)
    return fields


def dimensions(text: str) -> list[str]:
    """A shape as people write it.

    >>> dimensions("None, 1, 28, 28"), dimensions("[? x 3]"), dimensions(" ")
    (['None', '1', '28', '28'], ['None', '3'], [])
    """
    words = [word for word in _SEPARATORS.split(text.strip()) if word]
    return [FREE if word.lower() in _FREE else word for word in words]


def check_lengths(words: Sequence[object]) -> None:
    """Raise ValidationError, for people, for what is no length."""
    for word in map(str, words):
        if word != FREE and not (word.isascii() and word.isdecimal()):
            raise ValidationError(
                {"input_shape": [f"{word[:40]!r} is no length. Write whole numbers, and 'any' where one is free."]}
            )


def spooled(fields: QueryDict, files: "MultiValueDict[str, UploadedFile[bytes]]") -> Form:
    """The files as the store takes them: on the disk, the small ones too. To be closed."""
    form = Form(fields, MultiValueDict())
    for name in (MODEL_FILE, PREPROCESSING_FILE):
        file = files.get(name)
        if file is None or not file.name:
            continue
        form.files.appendlist(name, file if isinstance(file, TemporaryUploadedFile) else _on_disk(file))
    return form


def _on_disk(file: "UploadedFile[bytes]") -> TemporaryUploadedFile:
    written = TemporaryUploadedFile(file.name or "", OCTETS, file.size or 0, None)
    for chunk in file.chunks():
        written.write(chunk)
    written.flush()
    return written


def findings(model_id: str) -> str:
    """What a model's file was found to be, in a sentence."""
    model = Model.objects.get(id=model_id)
    (version,) = ModelVersion.objects.filter(model=model).select_related("blob").defer("blob__checksums")
    found = nature(model.kind, model.archive_id, model.structure is not None)
    names = {NUMBERS: "safetensors", STATE: "a state dict of torch"}
    what = names.get(found) or f"a program of {len(model.structure or [])} layers"
    spec = model.param_spec
    buffers = sum(array.kind.value == "buffer" for array in spec)
    told = f"Found {what}: {len(model.spec)} arrays with {spec.num_params:,} params, {size(version.blob.size)}."
    if buffers:
        told += f" {buffers} of the arrays are buffers."
    if not found.answers:
        told += " It can be trained; to be asked it needs its program too (TorchScript, or a module saved whole)."
    return told
