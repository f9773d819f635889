"""What is wrong with the plan of a form, beside its fields and by their labels. Pure."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hansa.rounds import plan as plans
from hansa.rounds.plan import UnsoundPlanError
from hansa.server.dashboard.plan_fields import Field, Group, Json
from hansa.server.dashboard.refusals import Wrong, plain
from hansa.server.lifecycle.fields import errors_of

MOST: Final = 12
"""Faults that are told at once."""


def faults(form: Sequence[Group], plan: Json) -> Wrong:
    """By the names of the form's fields; "" has what belongs to none of them.

    A plan is refused for the first thing that is wrong; what is wrong beside it is found in a plan without that.
    """
    rest = copy.deepcopy(dict(plan))
    found: dict[str, str] = {}
    for _ in range(MOST):
        try:
            plans.parse(rest)
        except UnsoundPlanError as error:
            path, sentence = _located(error)
            name, sentence = about(form, path, sentence)
            if name in found:
                break
            found[name] = sentence
            if not _without(rest, path):
                break
        else:
            break
    names = [field.name for group in form for field in group.fields]
    return dict(sorted(found.items(), key=lambda fault: names.index(fault[0]) if fault[0] else -1))


def about(form: Sequence[Group], path: str, sentence: str) -> tuple[str, str]:
    """The field that a refusal is about, and the refusal with labels in the place of paths.

    The API begins with the path of what is wrong, or with "the" and the name of a section of which another kind would
    do. A whole section is told of beside the first of its fields that the sentence names.
    """
    sentence = sentence.removeprefix("plan: ")
    begins = re.match(r"(the )?([\w.]*)", path or sentence)
    path = f"{begins[2]}.kind" if begins and begins[1] else begins[2] if begins else ""
    fields = [field for group in form for field in group.fields]
    within = [field for field in fields if field.path == path or field.path.startswith(f"{path}.")]
    if within and sentence.startswith("There is no such field"):
        return within[0].name, "This does not go with the kind that is chosen. Leave it empty, or choose another kind."
    named = next((field for field in within if re.search(rf"\b{_leaf(field)}\b", sentence)), None)
    chosen = named or (within[0] if within else None)
    return chosen.name if chosen is not None else "", plain(_labelled(form, path, sentence))


def _labelled(form: Sequence[Group], path: str, sentence: str) -> str:
    """Fields by their labels; by their last names alone only those of the section that is spoken of."""
    section = path.partition(".")[0]
    for field in (field for group in form for field in group.fields if "." in field.path):
        names = [field.path]
        if field.path.startswith(f"{section}.") and _leaf(field) != "kind":
            names.append(_leaf(field))
        sentence = _said(sentence, names, field.label)
        parent = field.path.rpartition(".")[0]
        sentence = _said(sentence, [parent] if "." in parent else [], parent.rpartition(".")[2])
    title = next((group.title for group in form if group.key == section and section), "")
    return re.sub(rf"^{re.escape(section)}\b", f"“{title}”", sentence) if title else sentence


def _said(sentence: str, names: Sequence[str], label: str) -> str:
    pattern = rf"(?<![.\w“])(?:{'|'.join(map(re.escape, names))})(?![\w”]|\.\w)"
    return re.sub(pattern, f"“{label}”", sentence) if names else sentence


def _leaf(field: Field) -> str:
    return field.path.rpartition(".")[2]


def _located(error: UnsoundPlanError) -> tuple[str, str]:
    """The path, where the plan's types were not as wanted, and what is said of it."""
    if not isinstance(error.__cause__, msgspec.ValidationError):
        return "", str(error)
    ((path, sentences),) = errors_of(error.__cause__).items()
    return ("" if path == "non_field_errors" else path), " ".join(sentences)


def _without(plan: dict[str, Any], path: str) -> bool:  # Any: any JSON
    """Take a part out of the plan; whether it was there."""
    *parents, last = path.split(".")
    place: Any = plan  # Any: as above
    for parent in parents:
        place = place.get(parent) if isinstance(place, Mapping) else None
    return isinstance(place, dict) and place.pop(last, None) is not None
