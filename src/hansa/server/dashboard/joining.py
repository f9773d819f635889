"""Who joins a training, and who is taken out: the forms of its page, and the page of a new machine's code."""

from functools import partial
from uuid import UUID

from django.contrib import messages
from django.http.response import HttpResponseBase
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request

from hansa.server.accounts.permissions import caller
from hansa.server.dashboard import invitations
from hansa.server.dashboard.page import Change, render
from hansa.server.dashboard.refusals import plain, status_of, wrong_fields
from hansa.server.dashboard.titles import title
from hansa.server.dashboard.trainings import Training
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.errors import ServiceError
from hansa.server.trainings import naming, selectors
from hansa.server.trainings.services import trainings as services

NAMES, MACHINE = "names-to-add", "name-to-connect"
"""The ids of the fields."""


class _Form(Change, Training):
    """One that whoever steers the training may send; refused, it is on the page again with what was typed."""

    stands_on, of, at = "training-page", ("training_id",), "clients"

    async def refused(
        self, request: Request, field: str, typed: str, refusal: ServiceError | ValidationError
    ) -> HttpResponseBase:
        wrong = wrong_fields(refusal, {"username": field}, about=field)
        return await self.with_more(request, {"wrong": wrong, "said": {field: typed}}, status_of(refusal))


class Add(_Form):
    """Clients that are known here are let in."""

    async def post(self, request: Request, training_id: UUID) -> HttpResponseBase:
        """Those whose names are given, with spaces or commas between; they take part from the next round on."""
        user = caller(request)
        await read(selectors.steered_training, user, training_id)
        typed = str(request.POST.get("names", ""))
        try:
            clients = await read(naming.to_join, user, typed.replace(",", " ").split())
            await call(services.add_clients, training_id=training_id, clients=clients)
        except ServiceError as refusal:
            return await self.refused(request, NAMES, typed, refusal)
        return self.back()


class Remove(_Form):
    """One client is taken out."""

    async def post(self, request: Request, training_id: UUID, client_id: UUID) -> HttpResponseBase:
        """At once: what it works on is no longer waited for."""
        user = caller(request)
        await read(selectors.steered_training, user, training_id)
        try:
            clients = await read(naming.to_leave, user, [str(client_id)])
            await call(services.remove_clients, training_id=training_id, clients=clients)
        except ServiceError as refusal:
            messages.error(request._request, plain(refusal.detail))
        return self.back()


class Connect(_Form):
    """A machine that is not known here yet."""

    async def post(self, request: Request, training_id: UUID) -> HttpResponseBase:
        """Invite it, let it into the training, and show the line to paste there. The code is shown this once."""
        training = await read(selectors.steered_training, caller(request), training_id)
        try:
            invited = await invitations.invite(request, by=partial(services.connect, training_id=training_id))
        except (ServiceError, ValidationError) as refusal:
            return await self.refused(request, MACHINE, str(request.POST.get("username", "")), refusal)
        shown = {
            "here": "trainings",
            "training": training,
            "invited": invited,
            "title": title(training.name, training.id),
        }
        return await read(render, request._request, "dashboard/connect.html", shown, status=201)
