"""What people call a thing: its id, the beginning of its id, or its name where that is unique."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from rich.table import Table

from hansa.cli import choices
from hansa.cli.exits import CommandError
from hansa.cli.words import listed
from hansa.client.api import Api
from hansa.client.plaintext import clean


class Known(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str: ...  # noqa: D102 - as the class says


class Named(Known, Protocol):
    """A record with an id and a name."""

    @property
    def name(self) -> str: ...  # noqa: D102 - as the class says


class Account(Known, Protocol):
    """A record with an id and a user name."""

    @property
    def username(self) -> str: ...  # noqa: D102 - as the class says


T = TypeVar("T", bound=Known)
N = TypeVar("N", bound=Named)


def model_id(api: Api, wanted: str) -> str:
    """The id of the model a person means."""
    return _id(wanted, api.models, "model", partial(choices.models, api))


def training_id(api: Api, wanted: str) -> str:
    """The id of the training a person means."""
    return _id(wanted, api.trainings, "training", choices.trainings)


def token_id(api: Api, wanted: str) -> str:
    """The id of the token a person means."""
    return _id(wanted, api.tokens, "token", choices.tokens)


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
    return pick(wanted, known, what="client", name_of=lambda each: each.username, table=_clients)


def _clients(found: Sequence[Account]) -> Table:
    return choices.clients([(each.id, each.username) for each in found])


def _id(wanted: str, fetch: Callable[[], Sequence[N]], what: str, table: Callable[[Sequence[N]], Table]) -> str:
    if _is_uuid(wanted):
        return wanted.lower()
    return pick(wanted, fetch(), what=what, name_of=lambda each: each.name, table=table).id


def pick(
    wanted: str, known: Sequence[T], *, what: str, name_of: Callable[[T], str], table: Callable[[Sequence[T]], Table]
) -> T:
    """The one that is meant. An id or a name in full goes before the beginning of an id; of several none is chosen."""
    exact = [each for each in known if each.id == wanted.lower()]
    named = [each for each in known if name_of(each) == wanted]
    begun = [each for each in known if wanted and each.id.startswith(wanted.lower())]
    found = exact or named or begun
    if len(found) == 1:
        return found[0]
    if not found:
        there = f"There are: {listed(name_of(each) or each.id for each in known)}." if known else "There is none yet."
        raise CommandError(f"no {what} {clean(wanted)!r}. {there} See: hansa {what}s list")
    newest = f" Here are the newest {choices.MOST}; all: hansa {what}s list." if len(found) > choices.MOST else ""
    raise CommandError(
        f"{clean(wanted)!r} means {len(found)} {what}s, and none was chosen. Give the id of one, or as much of it as "
        f"no other begins with.{newest}",
        choices=table(found),
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
