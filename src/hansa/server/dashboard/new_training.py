"""A new training by a form: its plan beside it as JSON and in words, checked while one types."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import ValidationError as DjangoValidationError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from rest_framework.exceptions import ValidationError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request

from hansa.protocol.errors import ErrorCode
from hansa.rounds import plan as plans
from hansa.server.accounts.models import User
from hansa.server.accounts.permissions import MayOwn, caller
from hansa.server.dashboard import plan_faults, plan_fields, plan_words, typed_json
from hansa.server.dashboard.page import Change, Page, Shown, render
from hansa.server.dashboard.plan_fields import Field, Group
from hansa.server.dashboard.refusals import Wrong, status_of, wrong_fields
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.registry import selectors as registry
from hansa.server.registry.models import Model
from hansa.server.trainings import naming
from hansa.server.trainings.asking import wanted
from hansa.server.trainings.creation import creation

FORM: Final = plan_fields.groups(plans.schema())
OFFERED: Final = 200
"""Models, and names of clients, that a field offers."""
BY_HAND: Final = "This was changed by hand, and the form was not. Fill in the form from it, or undo the change."
SOUND: Final = plans.to_data(plans.fedavg(rounds=1))
"""A plan with which nothing is wrong, while the message around one is looked at."""
_LABELS: Final = {
    "model": "Model",
    "name": "Name",
    "clients": "Clients",
    **{each.name.replace(".", "-"): each.label for group in FORM for each in group.fields},
}
"""By the fields' ids, in the form's order."""
_ORDER: Final = {field: place for place, field in enumerate(_LABELS)}


@dataclass(frozen=True, slots=True)
class Asked:
    """A field, and what is said in it."""

    field: Field
    value: str

    @property
    def id(self) -> str:
        """In the page."""
        return id_of(self.field.name)

    @property
    def help_id(self) -> str:
        """Of the element with its help; empty where there is none."""
        return f"{self.id}-help" if self.field.help else ""


@dataclass(frozen=True, slots=True)
class Part:
    """A group of the form, with what is said in it."""

    group: Group
    fields: Sequence[Asked]

    wrong: bool
    """Whether something is wrong in it."""

    @property
    def open(self) -> bool:
        """Whether it is to be seen at once: most people want it, or something is said in it."""
        return self.group.first or self.wrong or any(asked.value for asked in self.fields)


class NewTraining(Page):
    """What is asked for, and the training that comes of it."""

    template = "training_new.html"
    permission_classes = (IsAuthenticated, MayOwn)

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """The form as a preset fills it in: FedAvg, unless another is asked for."""
        params = self.request.query_params
        name = params.get("preset", "") if params.get("preset", "") in plan_fields.PRESETS else "fedavg"
        said = plan_fields.said_by(FORM, plan_fields.PRESETS[name][1])
        return form_page(user, {**said, "model": params.get("model", "")}, preset=name)

    async def post(self, request: Request) -> HttpResponseBase:
        """Make the training, and show it; or the form again, with what is wrong, or as a pasted plan fills it in."""
        user, said = caller(request), _said(request)
        if request.POST.get("do") == "read":
            said, wrong = _as_pasted(said)
            return await read(self._again, request, said, wrong, 400 if wrong else 200)
        wrong = await read(faults, user, said)
        if _is_by_hand(said):
            wrong = {"json": BY_HAND, **wrong}
        if not said.get("model"):
            wrong = {"model": "Choose the model that is to be trained.", **wrong}
        if wrong:
            return await read(self._again, request, said, wrong, 400)
        try:
            made = await call(await creation(user, wanted(message(said))))
        except (ValidationError, ServiceError) as refusal:
            return await read(self._again, request, said, refused(refusal), status_of(refusal))
        return HttpResponseRedirect(reverse("training-page", args=[made.id]))

    def _again(self, request: Request, said: Mapping[str, str], wrong: Wrong, status: int) -> HttpResponse:
        return self.rendered(request, form_page(caller(request), said, wrong=wrong), status=status)


class CheckTraining(Change):
    """What would be wrong with it, asked while one types."""

    stands_on = "training-new"
    permission_classes = (IsAuthenticated, MayOwn)

    async def post(self, request: Request) -> HttpResponseBase:
        """What is wrong, beside its fields; or the plan in words. `do` tells that the JSON is what was typed in."""
        return await read(self._checked_json if request.POST.get("do") == "json" else self._checked, request)

    def _checked(self, request: Request) -> HttpResponse:
        said = _said(request)
        shown = checked(caller(request), said)
        shown = {**shown, "told": _everywhere(shown["found"]), "anew": not _is_by_hand(said)}
        return render(request._request, "dashboard/parts/plan_checked.html", shown)

    def _checked_json(self, request: Request) -> HttpResponse:
        said, wrong = _as_pasted(_said(request))
        if wrong:
            shown: Shown = {"found": [("json", "JSON", wrong["json"])]}
        else:
            shown = {"words": plan_words.told(plans.parse(message(said)["plan"])), "by_hand": True}
        return render(request._request, "dashboard/parts/plan_check.html", shown)


def _everywhere(found: Sequence[tuple[str, str, str]]) -> Sequence[tuple[str, str]]:
    """For each field of the form what is wrong there: with nothing, so that what was is gone."""
    wrong = {field: sentence for field, _, sentence in found}
    return [(field, wrong.get(field, "")) for field in _LABELS]


def form_page(user: User, said: Mapping[str, str], *, preset: str = "", wrong: Wrong | None = None) -> Shown:
    """The form with these texts in it."""
    owned = registry.owned(user)
    clients = User.objects.filter(client=True, is_active=True).order_by("username")
    parts = [_part(group, said, wrong or {}) for group in FORM]
    return {
        "here": "trainings",
        "said": said,
        "parts": parts,
        "models": _offered(owned, said.get("model", "")),
        "more_models": max(0, owned.count() - OFFERED),
        "known": clients.values_list("username", flat=True)[:OFFERED],
        "presets": [(key, title) for key, (title, _) in plan_fields.PRESETS.items()],
        "preset": preset,
        **checked(user, said),
        **({"json": said.get("json", "")} if wrong and "json" in wrong else {}),
        "wrong": wrong or {},
    }


def _offered(owned: QuerySet[Model], chosen: str) -> Sequence[tuple[str, str]]:
    """Ids and names of the newest, and of the one that is chosen if it is older than those."""
    newest = [(str(model.id), model.name) for model in owned.order_by("-created_at")[:OFFERED]]
    with suppress(DjangoValidationError):  # what is chosen came from an address
        if chosen and chosen not in dict(newest):
            newest += [(str(model.id), model.name) for model in owned.filter(id=chosen)]
    return newest


def _part(group: Group, said: Mapping[str, str], wrong: Wrong) -> Part:
    fields = [Asked(each, said.get(each.name, "")) for each in group.fields]
    return Part(group, fields, any(each.id in wrong for each in fields))


def checked(user: User, said: Mapping[str, str]) -> Shown:
    """The plan as JSON, and in words; or what is wrong with it, or with whom it names."""
    plan = message(said)["plan"]
    wrong = faults(user, said)
    told = () if any(field.startswith("plan-") or not field for field in wrong) else plan_words.told(plans.parse(plan))
    return {
        "json": json.dumps(plan, indent=2, ensure_ascii=False),
        "made": json.dumps(plan, indent=2, ensure_ascii=False),
        "words": told,
        "found": [(field, _LABELS.get(field, ""), sentence) for field, sentence in wrong.items()],
    }


def message(said: Mapping[str, str]) -> dict[str, Any]:  # Any: any JSON
    """The form as the message that the API takes."""
    return {
        "model_id": said.get("model", ""),
        "name": said.get("name", "").strip(),
        "clients": said.get("clients", "").replace(",", " ").split(),
        "plan": plan_fields.plan_of(FORM, said),
    }


def faults(user: User, said: Mapping[str, str]) -> Wrong:
    """By the fields' ids, all that can be told before the training is made."""
    asked = message(said)
    wrong: dict[str, str] = {}
    try:
        wanted({**asked, "plan": SOUND})
    except ValidationError as refusal:
        wrong |= wrong_fields(refusal, {"model_id": "model"})
    try:
        naming.to_join(user, asked["clients"])
    except ServiceError as refusal:
        wrong |= wrong_fields(refusal, about="clients")
    wrong |= by_id(plan_faults.faults(FORM, asked["plan"]))
    return dict(sorted(wrong.items(), key=lambda fault: _ORDER.get(fault[0], -1)))


def refused(refusal: ServiceError | ValidationError) -> Wrong:
    """What was found out when the training was to be made."""
    if isinstance(refusal, ServiceError) and refusal.code == ErrorCode.UNSOUND_PLAN:
        name, sentence = plan_faults.about(FORM, "", refusal.detail)
        return {id_of(name) or "model": sentence}
    return wrong_fields(refusal, {"model_id": "model"}, about="model")


def by_id(wrong: Wrong) -> dict[str, str]:
    """What is wrong in fields that have names, by their ids."""
    return {id_of(name): sentence for name, sentence in wrong.items()}


def id_of(name: str) -> str:
    """Of the field with that name: without dots, which mean something in a selector."""
    return name.replace(".", "-")


def _said(request: Request) -> dict[str, str]:
    return {name: str(value) for name, value in request.POST.items()}


def _is_by_hand(said: Mapping[str, str]) -> bool:
    """Whether the JSON is another than the one that the form had made."""
    typed, made = ("\n".join(said.get(name, "").split()) for name in ("json", "json_made"))
    return bool(typed and made and typed != made)


def _as_pasted(said: Mapping[str, str]) -> tuple[dict[str, str], Wrong]:
    """The form as the pasted plan has it, or unchanged with what is wrong with that."""
    try:
        plan = typed_json.read(said.get("json", ""))
    except ValueError as error:
        return dict(said), {"json": str(error)}
    if not isinstance(plan, dict):
        return dict(said), {"json": 'A plan is a JSON object, such as {"rounds": 20}.'}
    if wrong := by_id(plan_faults.faults(FORM, plan)):
        told = [f"{_LABELS[field]}: {sentence}" if field else sentence for field, sentence in wrong.items()]
        return dict(said), {"json": " ".join(told)}
    kept = {name: said.get(name, "") for name in ("model", "name", "clients")}
    return {**kept, **plan_fields.said_by(FORM, plan)}, {}
