"""Refusals in the words of a page, each beside the field that it is about. Pure.

The API names fields by their paths in a message, tells of JSON's types, and of requests by which to learn more. Who
fills in a form has fields with labels, and nothing to send.
"""

import re
from collections.abc import Mapping
from typing import Final

from rest_framework.exceptions import APIException, ValidationError

from hansa.server.lifecycle.errors import ServiceError

Wrong = Mapping[str, str]
"""By the name of a form's field, in the form's order: what is wrong there. "" has what belongs to no field."""

_ID: Final = r"['(]?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}[')]?"
_IDS: Final = (
    (re.compile(rf"\bno (\w+) {_ID}"), r"no such \1"),
    (re.compile(rf"\b([Tt])he (\w+) {_ID}"), r"\1he \2"),
    (re.compile(rf"(?:^|(?<=[.!?] )){_ID}"), "It"),
    (re.compile(rf" \({_ID}"), ""),
)
_REQUESTS: Final = re.compile(r"(?:^|(?<=[.!?;] ))[^.!?;]*\b(?:GET|POST|PUT|PATCH|DELETE) /api/[^ ]*[^.!?;]*[.!?;] ?")
_WANTED: Final = re.compile(r"^Expected `(?P<type>[a-z |]+)`(?P<bound> (?:>=|<=|>|<) \S+)?(?P<length> of length .+)?")
_TYPES: Final = {
    "int": "Write a whole number",
    "float": "Write a number",
    "str": "Write a text",
    "bool": "Choose yes or no",
    "object": 'Write a JSON object, such as {"batch": 32}',
    "array": "Write a list",
}
_BOUNDS: Final = {">=": "of {} or more", "<=": "of {} at most", ">": "above {}", "<": "below {}"}


def plain(sentence: str) -> str:
    """What is said to programs, said to people: without JSON's types, without ids, and without requests.

    >>> plain("Expected `int | null`, got `str`."), plain("Expected `float` <= 1.0.")
    ('Write a whole number.', 'Write a number of 1 at most.')
    >>> plain("There is no user 'nemo'. GET /api/users/ lists those that may be named.")
    "There is no user 'nemo'."
    """
    if sentence.startswith("This field is required"):
        return "This is needed."
    if sentence.startswith("Invalid enum value"):
        return sentence.replace("Invalid enum value", "There is no choice")
    wanted = _WANTED.match(sentence)
    if wanted is None:
        for pattern, words in _IDS:
            sentence = pattern.sub(words, sentence)
        return _REQUESTS.sub("", sentence).strip() or sentence
    kind = wanted["type"].split(" | ")[0]
    said = _TYPES.get(kind, "Write something else")
    if wanted["bound"]:
        sign, number = wanted["bound"].split()
        bound = number.rstrip(".").removesuffix(".0")
        said = f"{said} {_BOUNDS[sign].format(bound)}"
    elif wanted["length"]:
        sign, number = wanted["length"].removeprefix(" of length ").rstrip(".").split()
        said = f"Write {'at least ' if sign == '>=' else ''}{number} characters{'' if sign == '>=' else ' at most'}"
    elif "matching regex" in sentence:
        said = "There is a sign in it that cannot be in it"
    return f"{said}."


def wrong_fields(
    refusal: ServiceError | APIException, fields: Mapping[str, str] | None = None, *, about: str = ""
) -> Wrong:
    """What is wrong with a form.

    `fields` names the form's fields by the API's, where they differ: a path goes to the nearest one above it that is
    named. `about` is the field that a refusal which names none is about.
    """
    if not isinstance(refusal, ValidationError):
        return {about: plain(str(refusal.detail))}
    said = refusal.detail if isinstance(refusal.detail, dict) else {"non_field_errors": refusal.detail}
    found: dict[str, str] = {}
    for path, sentences in said.items():
        name = about if path == "non_field_errors" else _field(str(path), fields or {})
        sentence = " ".join(plain(str(each)) for each in sentences)
        found[name] = f"{found[name]} {sentence}" if name in found else sentence
    return found


def status_of(refusal: ServiceError | APIException) -> int:
    """Of the page that tells it."""
    return refusal.status if isinstance(refusal, ServiceError) else refusal.status_code


def _field(path: str, fields: Mapping[str, str]) -> str:
    """The form's field for a path, or for the nearest one above it that has one.

    >>> _field("uncertainty.samples", {"uncertainty.samples": "samples"}), _field("input_shape[2]", {})
    ('samples', 'input_shape')
    """
    above = path
    while above not in fields and (shorter := re.sub(r"(?:\.[^.\[]*|\[[^\[]*)$", "", above)) != above:
        above = shorter
    return fields.get(above, above)
