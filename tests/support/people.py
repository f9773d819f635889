"""Alice owns, Bob and Carol take part, Mallory must see nothing, root may do everything."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.utils import timezone

from hansa.server.accounts import services
from hansa.server.accounts.models import User
from support.home import Clock


def in_process(handler: ASGIHandler) -> httpx.ASGITransport:
    """Requests go straight to the handler: no socket, no port."""
    return httpx.ASGITransport(app=handler)  # type: ignore[arg-type]  # ASGI, in other words for its dictionaries


class Person(httpx.AsyncClient):
    """Somebody with an account, speaking to the server with a token of theirs."""

    def __init__(self, handler: ASGIHandler, user: User, token: str) -> None:
        super().__init__(
            transport=in_process(handler),
            base_url="http://localhost",
            headers={"Authorization": f"Token {token}"},
        )
        self.user = user
        self.token = token

    @property
    def id(self) -> str:
        """The user's id, as the API shows it."""
        return str(self.user.id)


MakePerson = Callable[..., Person]


@pytest.fixture
def person(home: Path, handler: ASGIHandler, transactional_db: None, clock: Clock) -> MakePerson:
    """Make somebody: `person("dave", client=True)`. From here on time stands still, unless the test moves it on."""

    def make(username: str, **fields: object) -> Person:
        user = User(username=username, **fields)
        user.set_unusable_password()
        user.save(force_insert=True)
        new = services.create_token(user_id=user.id, name="test", expires_in_seconds=None, now=timezone.now())
        return Person(handler, user, new.text)

    return make


@pytest.fixture
def alice(person: MakePerson) -> Person:
    """An actor: the model and the training are hers."""
    return person("alice", actor=True)


@pytest.fixture
def bob(person: MakePerson) -> Person:
    """A client, first in the training's join order."""
    return person("bob", client=True)


@pytest.fixture
def carol(person: MakePerson) -> Person:
    """A client, second in the training's join order."""
    return person("carol", client=True)


@pytest.fixture
def mallory(person: MakePerson) -> Person:
    """An actor and a client as well, with no part in anything of Alice's."""
    return person("mallory", actor=True, client=True)


@pytest.fixture
def root(person: MakePerson) -> Person:
    """A superuser."""
    return person("root", is_superuser=True, is_staff=True)


@pytest.fixture
def nobody(home: Path, handler: ASGIHandler, transactional_db: None) -> httpx.AsyncClient:
    """Somebody without credentials."""
    return httpx.AsyncClient(transport=in_process(handler), base_url="http://localhost")
