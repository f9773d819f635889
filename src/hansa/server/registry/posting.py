"""Metrics as older clients post them: forms in which names and values repeat."""

from dataclasses import dataclass

from django.core.exceptions import TooManyFieldsSent
from django.http import QueryDict
from rest_framework.exceptions import ValidationError

from hansa.protocol import models as wire
from hansa.server.lifecycle.body import UnreadRequest
from hansa.server.registry.metrics import Values, paired, pairs_in
from hansa.server.registry.upload import form_of

URLENCODED = "application/x-www-form-urlencoded"
LIMIT = 2**20
"""Bytes of a body: as many texts as are taken, as long as they may be, in the longest way of writing them."""


@dataclass(frozen=True, slots=True)
class PostedMetrics:
    """What one client posted of one model."""

    values: Values
    num_examples: int
    """It was measured on; 1 if the client does not say."""


def of_message(message: wire.MetricsUpload) -> PostedMetrics:
    """Metrics that came as JSON. Raises ValidationError."""
    return PostedMetrics(paired(message.metric_names, message.metric_values), message.sample_size)


async def of_form(request: UnreadRequest) -> PostedMetrics:
    """Metrics that came as a form, of either kind. Raises ValidationError, 413, 415."""
    if request.content_type == URLENCODED:
        try:
            return _of_fields(QueryDict(await request.body_bytes(limit=LIMIT)))
        except TooManyFieldsSent as error:
            raise ValidationError({"non_field_errors": [f"The form has too many fields: {error}"]}) from error
    async with form_of(request, limit=LIMIT) as form:
        return _of_fields(form.fields)


def _of_fields(fields: QueryDict) -> PostedMetrics:
    return PostedMetrics(paired(*pairs_in(fields)), _examples(fields.get("sample_size", "1")))


def _examples(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 16 and 1 <= int(text) <= wire.MAX_EXAMPLES:
        return int(text)
    raise ValidationError({"sample_size": [f"{text[:80]!r} is not a whole number from 1 to {wire.MAX_EXAMPLES:,}."]})
