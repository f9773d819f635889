"""What becomes of each row that was found there: pure comparisons with what is here.

Nothing that is here is changed. What cannot be taken takes with it what cannot be without it: a user's models and
trainings, a mean's members, a training's model and participants. Each says so, so that mending the first reason and
running the command again takes the rest.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from re import fullmatch
from uuid import UUID

from django.contrib.auth.hashers import identify_hasher

from hansa.server.accounts.secrets import digest
from hansa.server.coming_over.errors import ComingOverError
from hansa.server.coming_over.report import Entry, Fate, Kind
from hansa.server.coming_over.rows import Group, Metric, Model, ModelKind, Token, Training, User
from hansa.server.coming_over.target import MetricKey, Target

Roll = Mapping[UUID, Entry]
"""What has been decided of users, or of models, by their ids."""

PRESENT = (Fate.TAKEN, Fate.HERE)
AGAIN = "then run this again"
MAX_DIMENSIONS = 32


def group(row: Group, target: Target) -> Entry:
    """A group is known by its name. It keeps its number where that is free."""
    entry = Entry(Kind.GROUP, str(row.id), row.name, Fate.TAKEN)
    if row.name in target.groups:
        return replace(entry, fate=Fate.HERE)
    if row.id in target.groups.values():
        return replace(entry, remarks=("its number is another group's here, so it gets a new one",))
    return entry


def users(rows: Iterable[User], target: Target, keep_staff: Collection[str]) -> dict[UUID, Entry]:
    """All users, by id. Raises ComingOverError for a name in `keep_staff` that nobody with such rights has."""
    found = tuple(rows)
    staff = {row.username for row in found if row.is_staff or row.is_superuser}
    if unknown := sorted(set(keep_staff) - staff):
        known = ", ".join(sorted(staff)) or "nobody"
        raise ComingOverError(
            f"--keep-staff names {unknown[0]!r}, who has no staff rights there; {known} has. Correct or leave it out."
        )
    folded = Counter(row.username.casefold() for row in found)
    here = frozenset(target.users.values())
    return {row.id: _user(row, target, here, keep_staff, twins=folded[row.username.casefold()] > 1) for row in found}


def _user(row: User, target: Target, here: Collection[UUID], keep_staff: Collection[str], *, twins: bool) -> Entry:
    entry = Entry(Kind.USER, str(row.id), row.username, Fate.TAKEN)
    if row.id in here:
        return replace(entry, fate=Fate.HERE)
    if row.username in target.users:
        return replace(
            entry,
            fate=Fate.REFUSED,
            reason=f"another user has this name here; rename that one (in the admin) or this one (there), {AGAIN}",
        )
    return replace(entry, remarks=tuple(_user_remarks(row, keep_staff, twins=twins)))


def _user_remarks(row: User, keep_staff: Collection[str], *, twins: bool) -> Iterable[str]:
    rights = " and ".join(word for word, held in (("staff", row.is_staff), ("superuser", row.is_superuser)) if held)
    if rights and row.username in keep_staff:
        yield f"stays {rights}, as --keep-staff says"
    elif rights:
        yield f"is no longer {rights}: anybody could sign up as such there; --keep-staff {row.username} keeps it"
    if twins:
        yield "another user's name differs from this one in case only"
    if not _readable_password(row.password):
        yield "its password was kept in a way that is not known here: it needs a new one"


def _readable_password(encoded: str) -> bool:
    if encoded.startswith("!"):  # none, on purpose
        return True
    try:
        identify_hasher(encoded)
    except ValueError:
        return False
    return True


def token(row: Token, people: Roll, target: Target) -> Entry:
    """A token comes with its user and never later: one that was revoked here must not come back."""
    owner = people[row.user_id]
    entry = Entry(Kind.TOKEN, owner.id, owner.name, Fate.TAKEN)
    if owner.fate is Fate.REFUSED:
        return replace(entry, fate=Fate.REFUSED, reason="its user is not taken")
    if owner.fate is Fate.HERE:
        return replace(entry, fate=Fate.HERE)
    if not fullmatch("[0-9a-f]{40}", row.key):
        return replace(
            entry,
            fate=Fate.REFUSED,
            reason="it is not 40 hex digits, which no client could present here; make a new one",
        )
    if digest(row.key) in target.tokens:
        return replace(entry, fate=Fate.REFUSED, reason="it is somebody else's here; make a new one")
    return entry


def model(row: Model, people: Roll, models: Roll, target: Target, limit: int) -> Entry:
    """A model, as far as its row tells; whether its file can be read is for `files` to say."""
    name = row.name or ""
    if row.kind is ModelKind.LOCAL:
        return Entry(
            Kind.MODEL, "", "local models", Fate.LEFT, "they belong to rounds that end there; their clients train again"
        )
    entry = Entry(Kind.MODEL, str(row.id), name, Fate.TAKEN)
    if row.id in target.models:
        return replace(entry, fate=Fate.HERE)
    reason = _model_refusal(row, people, models, limit)
    if reason:
        return replace(entry, fate=Fate.REFUSED, reason=reason)
    if row.input_shape is not None and input_shape(row.input_shape) is None:
        shown = str(row.input_shape)[:60]
        return replace(entry, remarks=(f"its input shape {shown} is none, and is left out",))
    return entry


def _model_refusal(row: Model, people: Roll, models: Roll, limit: int) -> str:
    owner = people[row.owner_id]
    if row.kind is ModelKind.NONE:
        return "its row is incomplete: it says neither what kind of model it is nor its name"
    if owner.fate not in PRESENT:
        return f"its owner {owner.name} is not taken"
    if row.kind is ModelKind.MEAN:
        return _mean_refusal(row, models)
    if not row.weights:
        return "it has no weights"
    if row.weights > limit:
        return f"its file has {row.weights:,} bytes; {limit:,} are allowed here. Raise HANSA_MAX_MODEL_BYTES, {AGAIN}"
    return ""


def _mean_refusal(row: Model, models: Roll) -> str:
    if not row.members:
        return "it is a mean of no models"
    for member in row.members:
        if member not in models:
            return "one of its members is a mean itself, which no mean may have here"
        if models[member].fate not in PRESENT:
            return f"its member {models[member].name or member} is not taken"
    return ""


def input_shape(found: object) -> list[int | None] | None:
    """A usable shape: positive sizes, null for a free one; None for anything else that may stand in an array column.

    Early versions kept it as text:

    >>> input_shape([None, 28]), input_shape("[None, 1, 28]"), input_shape([[1, 2], [3, 4]]), input_shape([0])
    ([None, 28], [None, 1, 28], None, None)
    """
    sizes = found
    if isinstance(found, str):
        words = found.strip("[](){} ").split(",")
        sizes = [None if word.strip().lower() in ("none", "null") else _number(word) for word in words]
    if not isinstance(sizes, list) or not 1 <= len(sizes) <= MAX_DIMENSIONS:
        return None
    usable = all(size is None or (isinstance(size, int) and 1 <= size < 2**31) for size in sizes)
    return sizes if usable else None


def _number(word: str) -> int:
    return int(word) if word.strip().isdecimal() else 0


def training(row: Training, known: Model, people: Roll, models: Roll, target: Target) -> Entry:
    """A training, with all whom it needs or not at all."""
    entry = Entry(Kind.TRAINING, str(row.id), models[known.id].name, Fate.TAKEN)
    if row.id in target.trainings:
        return replace(entry, fate=Fate.HERE)
    missing = [people[each].name for each in (row.actor_id, *row.participants) if people[each].fate not in PRESENT]
    reason = ""
    if known.kind is ModelKind.LOCAL or models[known.id].fate not in PRESENT:
        reason = "its model is not taken"
    elif known.kind is ModelKind.MEAN and row.state != "I":
        reason = "its model is a mean of others, which has no params to train: only an unstarted one can be taken"
    elif known.id in target.trainings.values():
        reason = f"its model has another training here, made since it was taken; delete that one, {AGAIN}"
    elif missing:
        reason = f"{missing[0]}, who belongs to it, is not taken"
    return replace(entry, fate=Fate.REFUSED, reason=reason) if reason else entry


@dataclass(frozen=True, slots=True)
class Measured:
    """The metrics of one model, by what becomes of them."""

    taken: tuple[Metric, ...]
    here: int
    strangers: int
    """Of reporters that are not taken."""
    early: int
    """Of steps before the one that the model's count begins with here, which was decided when it was taken."""


def metrics(found: Iterable[Metric], people: Roll, here: Collection[MetricKey], first_round: int) -> Measured:
    """What was measured of a model that is or will be here."""
    rows = tuple(found)
    ours = [row for row in rows if people[row.reporter_id].fate in PRESENT]
    late = [row for row in ours if row.step >= first_round]
    taken = tuple(row for row in late if (row.step - first_round, row.reporter_id, row.key) not in here)
    return Measured(taken, here=len(late) - len(taken), strangers=len(rows) - len(ours), early=len(ours) - len(late))
