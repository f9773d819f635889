"""The playground of a model: an input is dropped or written, and the answer shown with its uncertainty.

What is asked goes the way of `POST /api/inference/`, with its limits and its refusals; only the picture is the page's.
"""

import base64
import binascii
import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

import msgspec
import numpy as np
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.http import HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.utils.datastructures import MultiValueDict
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request

from hansa.protocol.inference import InferenceAnswer
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import caller
from hansa.server.dashboard import pictures
from hansa.server.dashboard.models import cards
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.refusals import Wrong, status_of, wrong_fields
from hansa.server.inference import counting, questions
from hansa.server.inference.answering import answered, record
from hansa.server.inference.errors import FIELD, ImpossibleError, NoProgramError
from hansa.server.inference.room import ROOM, ROOMS
from hansa.server.inference.throttle import InferenceThrottle
from hansa.server.lifecycle.bridge import compute, read
from hansa.server.lifecycle.errors import NotFoundError, ServiceError
from hansa.server.lifecycle.in_place import in_place
from hansa.server.registry import selectors
from hansa.server.registry.models import ModelKind, ModelVersion
from hansa.server.registry.upload import Form

METHODS: Final = (
    ("", "as its plan says"),
    ("none", "none, one pass"),
    ("mc_dropout", "MC dropout"),
    ("swag", "SWAG"),
    ("ensemble", "an ensemble"),
    ("snapshots", "the last versions"),
)
OUTPUTS: Final = (
    ("", "not declared"),
    ("logits", "logits of classes"),
    ("probabilities", "probabilities of classes"),
    ("values", "values (regression)"),
)
KEPT_BYTES: Final = 256 * 2**10
"""Of an input that is asked again without being sent anew."""
RANDOM_ELEMENTS: Final = 4096
"""Of an input that is made up here."""
_IMAGES: Final = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"BM", "bmp"))
_CHOICES: Final = ("numbers", "method", "outputs", "samples", "level", "version", "against")
"""The form's fields beside the file, in its order."""
_NAMES: Final = {f"uncertainty.{name}": name for name in ("method", "samples", "outputs")}
_LABELS: Final = {"level": "Level of sets", "samples": "Passes"}


@dataclass(frozen=True, slots=True)
class Given:
    """What was sent as the input: the bytes of a file, or text."""

    content: bytes
    name: str
    """Of the file; empty for text."""

    @property
    def kept(self) -> str:
        """For the form, so that the same may be asked again; empty where it is too large, or stands there as text."""
        return base64.b64encode(self.content).decode() if self.name and len(self.content) <= KEPT_BYTES else ""

    @property
    def picture(self) -> str:
        """As the source of an <img>; empty of what is no image."""
        kind = next((kind for magic, kind in _IMAGES if self.content.startswith(magic)), "")
        return f"data:image/{kind};base64,{self.kept}" if kind and self.kept else ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One version's answer, or why there is none."""

    title: str
    answer: InferenceAnswer | None = None
    refusal: str = ""
    wrong: Wrong = field(default_factory=dict)
    """By the form's fields, what is wrong with the question."""
    wants_program: bool = False
    """Whether another upload of the model would help."""
    status: int = 200

    @property
    def data(self) -> str:
        """The whole answer as the address of a JSON file."""
        return f"data:application/json,{quote(msgspec.json.encode(self.answer))}"

    @property
    def text(self) -> str:
        """As the API says it."""
        return msgspec.json.format(msgspec.json.encode(self.answer), indent=2).decode()


class Ask(Page):
    """Questions to a model."""

    template = "ask.html"

    @in_place
    def get_throttles(self) -> list[Any]:  # Any: DRF's own signature
        """What asks the API too often asks here too often; looking is free."""
        throttles: list[Any] = super().get_throttles()
        return [*throttles, InferenceThrottle()] if self.request.method == "POST" else throttles

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """The form, for the version that is asked for."""
        model = selectors.model_of(user, asked["model_id"])
        (card,) = cards([model])
        numbers = ModelVersion.objects.filter(model=model, lost="").order_by("-number")
        wanted = self.request.query_params
        return {
            "here": "models",
            "card": card,
            "record": card.record,
            "newest": numbers.values_list("number", flat=True).first(),
            "is_mean": model.kind == ModelKind.MEAN,
            "may_make_up": may_make_up(card.record.input_shape) and not card.record.has_preprocessing,
            "methods": METHODS,
            "outputs": OUTPUTS,
            "said": {"version": wanted.get("version", ""), "against": wanted.get("against", ""), "samples": "20"},
            "field": FIELD,
        }

    async def post(self, request: Request, model_id: UUID) -> HttpResponseBase:
        """Ask one version, or two, and show what they say."""
        user = caller(request)
        shown = await read(self.show, user, model_id=model_id)
        said = {name: str(request.POST.get(name, "")) for name in _CHOICES}
        try:
            given = given_in(request, shown["record"].input_shape)
        except ValidationError as refusal:
            reply = _refused("No input", refusal, None, "version")
            return await read(self._answered, request, {**shown, "said": said}, [reply], None)
        if "random" in request.POST:
            said["numbers"] = given.content.decode()
        replies = [await _asked(user, model_id, given, said, version) for version in _versions(said)]
        return await read(self._answered, request, {**shown, "said": said}, replies, given)

    def _answered(self, request: Request, shown: Shown, replies: Sequence[Reply], given: Given | None) -> HttpResponse:
        found = [reply.answer for reply in replies if reply.answer is not None]
        drawn = iter(pictures.pictures(found))
        both = [(reply, next(drawn) if reply.answer is not None else None) for reply in replies]
        tables = [pictures.as_data(picture) if picture is not None else "" for _, picture in both]
        shown = {
            **shown,
            "replies": [
                (reply, picture, table)
                for (reply, picture), table in zip(both, tables, strict=True)
                if reply.answer is not None or reply.refusal
            ],
            "wrong": {name: text for reply in reversed(replies) for name, text in reply.wrong.items()},
            "given": given,
        }
        return self.rendered(request, shown, status=max(reply.status for reply in replies))


def _versions(said: dict[str, str]) -> list[str]:
    """The fields whose versions are asked."""
    return ["version", "against"] if said["against"].strip() else ["version"]


def given_in(request: Request, shape: Sequence[int | None] | None) -> Given:
    """A file before text, text before what was asked last. Raises ValidationError where there is none of them."""
    file = request.FILES.get(FIELD)
    if isinstance(file, UploadedFile) and file.size:
        return Given(file.read(), file.name or "input")
    if "random" in request.POST and shape is not None and may_make_up(shape):
        drawn = np.random.default_rng().random([length or 1 for length in shape])
        return Given(msgspec.json.encode(drawn.round(3).tolist()), "")
    if text := str(request.POST.get("numbers", "")).strip():
        return Given(text.encode(), "")
    try:
        kept = base64.b64decode(str(request.POST.get("kept", "")), validate=True)
    except binascii.Error:
        kept = b""
    if kept:
        return Given(kept, str(request.POST.get("kept_name", ""))[:100] or "input")
    raise ValidationError({FIELD: ["There is no input. Drop an image or a file of numbers, or write numbers."]})


def may_make_up(shape: Sequence[int | None] | None) -> bool:
    """Whether an input of this shape can be drawn here."""
    return shape is not None and math.prod(length or 1 for length in shape) <= RANDOM_ELEMENTS


async def _asked(user: User, model_id: UUID, given: Given, said: dict[str, str], field: str) -> Reply:
    version = said[field].strip()
    title = f"Version {version}" if version else "Newest version"
    limit = settings.CONFIG.inference.input_bytes
    with ExitStack() as taken:
        try:
            with counting.counted():
                taken.enter_context(ROOM.taken(len(given.content), str(user.pk), of=ROOMS * limit))
                answer = await answered(questions.of_form(form_of(model_id, given, said, version)), user)
            told = await compute(record, answer)
        except (ServiceError, APIException) as refusal:
            return _refused(title, refusal, given, field)
    return Reply(f"Version {told.hansa.version}" if told.hansa.version is not None else "The mean", told)


def form_of(model_id: UUID, given: Given, said: dict[str, str], version: str) -> Form:
    """The page's form as that of the API."""
    fields = QueryDict(mutable=True)
    fields["model_id"], fields["return_format"] = str(model_id), "json"
    wish: dict[str, object] = {name: said[name] for name in ("method", "outputs") if said[name]}
    if samples := said["samples"].strip():
        wish["samples"] = int(samples) if samples.isascii() and samples.isdecimal() and len(samples) < 9 else samples
    fields["uncertainty"] = msgspec.json.encode(wish).decode()
    for name, text in (("version", version), ("level", said["level"].strip())):
        if text:
            fields[name] = text
    files: MultiValueDict[str, UploadedFile[bytes]] = MultiValueDict()
    files.appendlist(FIELD, SimpleUploadedFile(given.name or "input", given.content))
    return Form(fields, files)


def _refused(title: str, refusal: ServiceError | APIException, given: Given | None, version: str) -> Reply:
    """What is about a field of the form, and what is about none."""
    about = version if isinstance(refusal, NotFoundError) else ""
    if isinstance(refusal, ImpossibleError):
        about = refusal.about
    typed = "model_input" if given is None or given.name else "numbers"
    wrong = wrong_fields(refusal, {**_NAMES, FIELD: typed, "version": version}, about=about)
    known = {name: _labelled(text) for name, text in wrong.items() if name in (*_CHOICES, "model_input")}
    others = " ".join(_labelled(text) for name, text in wrong.items() if name not in known)
    wants = isinstance(refusal, NoProgramError)
    return Reply(title, refusal=others, wrong=known, wants_program=wants, status=status_of(refusal))


def _labelled(sentence: str) -> str:
    """With the form's labels in the place of the API's names."""
    for name, label in _LABELS.items():
        sentence = sentence.replace(f"'{name}'", f"“{label}”")
    return sentence
