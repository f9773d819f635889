"""What people call a thing: its id, the beginning of its id, or its name where that is unique."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

from hansa.cli.exits import CommandError
from hansa.cli.words import listed, short_ids
from hansa.client.api import Api
from hansa.client.plaintext import clean


class Named(Protocol):
    """A record with an id and a name."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as the class says
    @property
    def name(self) -> str: ...  # noqa: D102 - as the class says


class Account(Protocol):
    """A record with an id and a user name."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as the class says
    @property
    def username(self) -> str: ...  # noqa: D102 - as the class says


T = TypeVar("T")


def model_id(api: Api, wanted: str) -> str:
    """The id of the model a person means."""
    return _id(wanted, api.models, "model")


def training_id(api: Api, wanted: str) -> str:
    """The id of the training a person means."""
    return _id(wanted, api.trainings, "training")


def token_id(api: Api, wanted: str) -> str:
    """The id of the token a person means."""
    return _id(wanted, api.tokens, "token")


def client_ids(known: Sequence[Account], wanted: str) -> list[str]:
    """The ids of those named with commas between them, in the order given. Naming one twice is an error."""
    names = [part.strip() for part in wanted.split(",") if part.strip()]
    if not names:
        raise CommandError("no client is named; wanted are names or ids with commas between them: --clients a,b,c")
    found = [_client(name, known) for name in names]
    if twice := {client.username for client in found if found.count(client) > 1}:
        raise CommandError(f"{listed(sorted(twice))} is named twice; a client takes part in a training once.")
    return [client.id for client in found]


def _client(wanted: str, known: Sequence[Account]) -> Account:
    return pick(wanted, known, what="client", id_of=lambda each: each.id, name_of=lambda each: each.username)


def _id(wanted: str, fetch: Callable[[], Sequence[Named]], what: str) -> str:
    if _is_uuid(wanted):
        return wanted.lower()
    return pick(wanted, fetch(), what=what, id_of=lambda each: each.id, name_of=lambda each: each.name).id


def pick(wanted: str, known: Sequence[T], *, what: str, id_of: Callable[[T], str], name_of: Callable[[T], str]) -> T:
    """The one that is meant. An id or a name in full goes before the beginning of an id."""
    exact = [each for each in known if id_of(each) == wanted.lower()]
    named = [each for each in known if name_of(each) == wanted]
    begun = [each for each in known if wanted and id_of(each).startswith(wanted.lower())]
    found = exact or named or begun
    if len(found) == 1:
        return found[0]
    if not found:
        there = (
            f"There are: {listed(name_of(each) or id_of(each) for each in known)}." if known else "There is none yet."
        )
        raise CommandError(f"no {what} {clean(wanted)!r}. {there} See: hansa {what}s list")
    ids = short_ids([id_of(each) for each in found])
    choices = listed(f"{ids[id_of(each)]} {name_of(each)}".rstrip() for each in found)
    raise CommandError(f"{clean(wanted)!r} means {len(found)} {what}s ({choices}). Give more of the id.")


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
