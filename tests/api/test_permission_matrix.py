"""Every path, every method, every role: who may do what, in one table that an endpoint cannot be missing from.

The paths come from the URL resolver, so a new endpoint fails this test until it stands in the table. What is asked for
belongs to Alice, with Bob as her participant; the requests have no body, or one that says nothing.
"""

import re
from collections.abc import Iterator

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from hansa.server.accounts.models import Token
from hansa.server.lifecycle.bridge import read
from support.work import update

ROLES = ("nobody", "mallory", "bob", "alice", "owner", "root")
"""Anonymous; signed in, but a stranger to this; participant; the training's actor; the model's owner; superuser."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

ANYBODY = (200,) * 6
SIGNED_IN = (401, 200, 200, 200, 200, 200)
ACTORS = (401, 200, 403, 200, 200, 200)
OF_THE_TRAINING = (401, 404, 200, 200, 404, 200)
OF_THE_MODEL = (401, 404, 200, 200, 200, 200)
ITS_ACTOR = (401, 404, 403, 202, 404, 202)
OF_THE_GROUP = (401, 403, 403, 200, 403, 200)
BY_PARTICIPANTS = (401, 404, 415, 403, 403, 403)
ITS_CLIENT = (401, 404, 200, 404, 404, 404)

# path and method → the status for each of the roles above; what is not named must be 405 (401 to the anonymous)
TABLE: dict[str, dict[str, tuple[int, ...]]] = {
    "users/": {"GET": SIGNED_IN, "POST": (401, 403, 403, 403, 403, 400)},
    "users/myself/": {"GET": SIGNED_IN},
    "users/trainings/": {"GET": SIGNED_IN},
    "users/groups/": {"GET": SIGNED_IN},
    "users/<uuid:user_id>/": {"GET": SIGNED_IN},
    "groups/": {"GET": (401, 403, 403, 403, 403, 200), "POST": (401, 400, 400, 400, 400, 400)},
    "groups/<int:group_id>/": {
        "GET": OF_THE_GROUP,
        "PUT": (401, 403, 403, 400, 403, 400),
        "PATCH": OF_THE_GROUP,
        "DELETE": (401, 403, 403, 204, 403, 204),
    },
    "tokens/": {"GET": SIGNED_IN, "POST": (401, 201, 201, 201, 201, 201)},
    "tokens/<uuid:token_id>/": {"DELETE": (401, 404, 204, 404, 404, 404)},
    "clients/": {"GET": ACTORS},
    "clients/invitations/": {"POST": (401, 400, 403, 400, 400, 400)},
    "clients/enroll/": {"POST": (400,) * 6},
    "models/": {"GET": SIGNED_IN, "POST": (401, 415, 403, 415, 415, 415)},
    "models/<uuid:model_id>/": {
        "GET": OF_THE_MODEL,
        "POST": BY_PARTICIPANTS,
        "DELETE": (401, 404, 403, 200, 200, 200),
    },
    "models/<uuid:model_id>/swag/": {"POST": BY_PARTICIPANTS},
    "models/<uuid:model_id>/metadata/": {"GET": OF_THE_MODEL},
    "models/<uuid:model_id>/metrics/": {"GET": OF_THE_MODEL, "POST": (401, 404, 415, 415, 415, 415)},
    "models/<uuid:model_id>/preprocessing/": {
        "GET": (401, 404, 404, 404, 404, 404),
        "POST": (401, 404, 403, 403, 415, 415),
    },
    "models/<uuid:model_id>/versions/": {"GET": OF_THE_MODEL},
    "models/<uuid:model_id>/versions/<int:number>/": {"GET": OF_THE_MODEL},
    "models/<uuid:model_id>/versions/<int:number>/params/": {"GET": OF_THE_MODEL},
    "trainings/": {"GET": SIGNED_IN, "POST": (401, 400, 403, 400, 400, 400)},
    "trainings/<uuid:training_id>/": {"GET": OF_THE_TRAINING, "DELETE": (401, 404, 403, 200, 404, 200)},
    "trainings/<uuid:training_id>/start/": {"POST": (401, 404, 403, 409, 404, 409)},
    "trainings/<uuid:training_id>/pause/": {"POST": ITS_ACTOR},
    "trainings/<uuid:training_id>/resume/": {"POST": (401, 404, 403, 409, 404, 409)},
    "trainings/<uuid:training_id>/cancel/": {"POST": ITS_ACTOR},
    "trainings/<uuid:training_id>/clients/": {
        "PUT": (401, 404, 403, 400, 404, 400),
        "DELETE": (401, 404, 403, 400, 404, 400),
    },
    "trainings/<uuid:training_id>/models/": {"GET": OF_THE_TRAINING},
    "trainings/<uuid:training_id>/models/latest/": {"GET": OF_THE_TRAINING},
    "trainings/<uuid:training_id>/rounds/": {"GET": OF_THE_TRAINING},
    "trainings/<uuid:training_id>/rounds/<int:number>/": {"GET": OF_THE_TRAINING},
    "trainings/<uuid:training_id>/metrics/": {"GET": OF_THE_TRAINING},
    "plan-schema/": {"GET": SIGNED_IN},
    "tasks/next/": {"POST": (401, 400, 400, 400, 400, 400)},
    "tasks/<uuid:task_id>/heartbeat/": {"POST": ITS_CLIENT},
    "tasks/<uuid:task_id>/base/": {"GET": ITS_CLIENT},
    "tasks/<uuid:task_id>/update/<str:digest>/": {"PUT": (401, 404, 409, 404, 404, 404)},
    "tasks/<uuid:task_id>/report/": {"POST": (401, 400, 400, 400, 400, 400)},
    "tasks/<uuid:task_id>/release/": {"POST": (401, 400, 400, 400, 400, 400)},
    "dummy/": dict.fromkeys(METHODS, (404,) * 6),  # there while debugging only
    "health/": {"GET": ANYBODY},
    "schema/": {"GET": ANYBODY},
    "schema/swagger-ui/": {"GET": ANYBODY},
    "schema/redoc/": {"GET": ANYBODY},
}

OPEN_TO_ALL = {"clients/enroll/", "health/", "schema/", "schema/swagger-ui/", "schema/redoc/"}
"""Where nobody is asked who they are, and so a method that is not offered is 405 to the anonymous as well."""

ACTORS_ONLY = {"clients/", "clients/invitations/"}
"""Where a client is turned away before the method is looked at."""


OTHERS = {"", "^api/", "api-auth/login/", "api-auth/logout/"}
"""The way to the admin and to a session, which ask for a password; and all other paths of the API: 404."""


def wanted(path: str, method: str, role: str) -> int:
    """The status that the table asks for."""
    statuses = TABLE[path].get(method)
    if statuses is not None:
        return statuses[ROLES.index(role)]
    if role == "nobody" and path not in OPEN_TO_ALL:
        return 401
    return 403 if role == "bob" and path in ACTORS_ONLY else 405


def changes_something(path: str, method: str, role: str) -> bool:
    return method != "GET" and wanted(path, method, role) < 300


def patterns(urls: list[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for each in urls:
        if isinstance(each, URLResolver):
            yield from patterns(each.url_patterns, prefix + str(each.pattern))
        else:
            yield prefix + str(each.pattern)


def test_every_endpoint_stands_in_the_table():
    served = {path for path in patterns(get_resolver().url_patterns) if not path.startswith("admin/")}

    assert served == {f"api/{path}" for path in TABLE} | OTHERS


@pytest.fixture
async def ids(person, alice, bob, bobs_task, hand_over):
    token = await read(Token.objects.get, user=bob.user)
    training = bobs_task.round.training
    return {
        "token_id": token.id,
        "model_id": training.model_id,
        "training_id": training.id,
        "task_id": bobs_task.id,
        "number": 0,
        "digest": update().digest,
        "user_id": bob.id,
        "group_id": (await alice.post("/api/groups/", json={"name": "hers"})).json()["id"],
    }


@pytest.fixture
def hand_over(model, owner, started):
    """Alice acts, but the model is somebody else's."""
    model.owner = owner.user
    model.save()


@pytest.fixture
def owner(person):
    return person("owner", actor=True)


@pytest.fixture
def everybody(nobody, mallory, bob, alice, owner, root):
    return dict(zip(ROLES, (nobody, mallory, bob, alice, owner, root), strict=True))


@pytest.fixture
def ask(everybody, ids):
    """Send an empty request as somebody."""

    async def send(path: str, method: str, role: str) -> int:
        url = re.sub(r"<\w+:(\w+)>", lambda match: str(ids[match[1]]), path).replace("/rounds/0/", "/rounds/1/")
        return (await everybody[role].request(method, f"/api/{url}")).status_code

    return send


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_sees_what_the_table_says_and_is_refused_the_rest(role, ask):
    cells = [(path, method) for path in TABLE for method in METHODS if not changes_something(path, method, role)]

    seen = {(method, path): await ask(path, method, role) for path, method in cells}

    assert seen == {(method, path): wanted(path, method, role) for path, method in cells}


@pytest.mark.parametrize(
    ("path", "method", "role"),
    [
        (path, method, role)
        for path in TABLE
        for method in METHODS
        for role in ROLES
        if changes_something(path, method, role)
    ],
)
async def test_who_may_change_something_can(path, method, role, ask):
    if path == "models/<uuid:model_id>/":
        await ask("trainings/<uuid:training_id>/cancel/", "POST", "alice")

    assert await ask(path, method, role) == wanted(path, method, role)
