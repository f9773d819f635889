"""`GET /api/dummy/`: there while HANSA_DEBUG is on, and nowhere else. Not part of the described API."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password
from django.utils import timezone
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from hansa.protocol.base import Answer
from hansa.protocol.models import ModelCreated
from hansa.server.accounts.repeats import Key
from hansa.server.dummy import archives, services
from hansa.server.lifecycle.bridge import call, read, slowly, work
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.lifecycle.messages import MessageView
from hansa.server.registry import storing
from hansa.server.registry.models import Model

if TYPE_CHECKING:
    from rest_framework.views import APIView

MESSAGE = "Created Dummy Data in Metrics Database!"


class Credentials(Answer, frozen=True):
    """What to sign in with."""

    username: str
    password: str
    token: str


class DummyCreated(Answer, frozen=True):
    """What was made, in the older platform's names."""

    message: str
    training_uuid: str
    user_uuid: str
    user_credentials: Credentials
    participants: list[str]


class WhileDebugging(BasePermission):
    """To everybody while debugging; else there is no such thing, for nobody."""

    in_place = True

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Raise NotFoundError unless the server is in debugging mode."""
        if not settings.DEBUG:
            raise NotFoundError(f"There is nothing at {request.path}. GET /api/schema/ lists what there is.")
        return True


class Dummy(MessageView):
    """A completed training with its curves, for who works on a page that shows such."""

    schema = None
    authentication_classes = ()
    permission_classes: Sequence[type[BasePermission]] = (WhileDebugging,)
    http_method_names = ["get", "options"]  # no HEAD, which would make data as well

    async def get(self, request: Request) -> Response:
        """Make another one, and its owner the first time."""
        now = timezone.now()
        hashed = await slowly(make_password, services.PASSWORD)
        owner = await call(services.owner, hashed=hashed)
        services.check_is_ours(owner, await slowly(check_password, services.PASSWORD, owner.password))
        form = await work(archives.as_form)
        try:
            each_time = Key(owner.id, request.path).once(ModelCreated)
            stored = await storing.store_model(owner, archives.MODEL, form, each_time)
        finally:
            await work(form.close)
        model = await read(Model.objects.get, id=stored.model_id)
        made = await call(services.make_training, owner=owner, model=model, now=now)
        answer = DummyCreated(
            message=MESSAGE,
            training_uuid=str(made.training.id),
            user_uuid=str(owner.id),
            user_credentials=Credentials(username=owner.username, password=services.PASSWORD, token=made.token),
            participants=[str(client.id) for client in made.clients],
        )
        return Response(answer)
