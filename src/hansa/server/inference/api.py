"""`POST /api/inference/`. The messages are in `hansa.protocol.inference`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.parsers import BaseParser, JSONParser, MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView as Plain

from hansa.protocol import inference as wire
from hansa.server.accounts.permissions import caller
from hansa.server.blobs.services import SAFETENSORS
from hansa.server.inference import answers, counting, questions
from hansa.server.inference.answering import SMALL, Answered, answered, record
from hansa.server.inference.errors import LimitError
from hansa.server.inference.forms import INFERENCE_FORM
from hansa.server.inference.questions import Question
from hansa.server.inference.room import ROOM, ROOMS
from hansa.server.inference.throttle import InferenceThrottle
from hansa.server.lifecycle.bridge import compute, work
from hansa.server.lifecycle.openapi import body, ref, refusals
from hansa.server.registry.api import BytesView
from hansa.server.registry.upload import MULTIPART, form_of

JSON_LIMIT = 16 * 2**20
"""Bytes of a question in JSON, whatever may be sent as a file: as Python's objects numbers take ten times as much."""
MAX_NUMBERS = 2**20
"""Of an array in an answer that is JSON."""


class Inference(BytesView):
    """Questions to models."""

    parser_classes: Sequence[type[BaseParser]] = (JSONParser, MultiPartParser)
    throttle_classes: Sequence[type[BaseThrottle]] = (*Plain.throttle_classes, InferenceThrottle)

    @extend_schema(
        request=INFERENCE_FORM | body(wire.InferenceQuestion),
        responses={
            (200, "application/json"): ref(wire.InferenceAnswer),
            (200, SAFETENSORS): OpenApiResponse(
                OpenApiTypes.BINARY, "`inference`, `uncertainty.<name>`, and `probabilities` where they are known"
            ),
            **refusals(404, 409, 422),
        },
    )
    async def post(self, request: Request) -> HttpResponseBase:
        """Ask a model. Its program runs in the sandbox, in eval mode, and remembers nothing of what was asked before.

        Nothing that is sent is unpickled, and no pickle is sent. An error that the program makes is 422, as is a limit
        that it exceeds (`limit` names it); the next question notices nothing of it.
        """
        user = caller(request)
        with counting.counted():
            async with self._question(str(user.pk)) as question:
                return await _sent(await answered(question, user))

    @asynccontextmanager
    async def _question(self, who: str) -> AsyncIterator[Question]:
        """What is asked, and room for it until it is answered.

        A form takes none before it has come: until then it lies on the disk, however slow its sender is.
        """
        limit = settings.CONFIG.inference.input_bytes
        if self.unread.content_type == MULTIPART:
            async with form_of(self.unread, limit=limit) as form:
                with ROOM.taken(questions.size_of(form), who, of=ROOMS * limit):
                    yield await work(questions.of_form, form)
        else:
            most = min(limit, JSON_LIMIT)
            with ROOM.taken(self._announced(most), who, of=ROOMS * limit):
                yield questions.of_message(await self.message(wire.InferenceQuestion, limit=most))

    def _announced(self, limit: int) -> int:
        """How long the body will be at most."""
        length = self.request.META.get("CONTENT_LENGTH", "")
        return min(int(length), limit) if length.isdecimal() else limit


async def _sent(answer: Answered) -> HttpResponseBase:
    """The answer in the form that was asked for. Large arrays are written elsewhere than on the event loop."""
    told = answer.told
    if answer.question.said.return_format == "binary":
        return HttpResponse(await work(answers.as_safetensors, told), content_type=SAFETENSORS)
    if told.inference.nbytes <= SMALL:
        return Response(record(answer))
    if told.inference.size > MAX_NUMBERS:
        raise LimitError(
            "answer",
            f"The answer has {told.inference.size:,} numbers in each of its arrays; JSON is written of at most "
            f'{MAX_NUMBERS:,}. Ask with "return_format": "binary", which is safetensors, or with smaller batches.',
        )
    return Response(await compute(record, answer))
