"""Every path, every method, every role: who may do what, in one table that an endpoint cannot be missing from.

There are two federations of other people (`support.realm`). The roles belong to the first: the *participant* is a
machine, the *actor* steers the trainings, the *owner* is a person to whom the models belong; *staff* may make accounts,
*root* is a superuser, and the *stranger* is an actor and a client as well, but of nothing here. The requests are such
as succeed for whoever may (`support.matrix_world`), each on the same rows.

A cell is a status, or a word: a 200 with just that in it. What is refused, or only looked at, changes no row.
"""

import re
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from django.urls import get_resolver

from hansa.server.accounts.models import Token
from hansa.server.dashboard import urls as dashboard
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.services import trainings
from support.matrix import METHODS, ROLES, Row, Table, patterns
from support.matrix_world import World, body_for, word_for
from support.realm import found_realm, with_password
from support.snapshot import Snapshot

TABLE = Table("""\
#                                       of their own federation                   | of another one
#                                       anony stran parti                           parti
#                                       mous  ger   cipant actor owner staff root   cipant actor owner staff root

# Accounts. brief: of others only the names; full: all but tokens; me: one's own record; token: and what was presented
GET    users/                           401   brief brief  brief brief full  full |  -     -     -     -     -
POST   users/                           401   403   403    403   403   201   201  |  -     -     -     -     -
GET    users/myself/                    401   me    me     me    me    me    me   |  -     -     -     -     -
GET    users/<me>/                      401   token token  token token token token|  -     -     -     -     -
GET    users/<user>/                    401   brief brief  brief brief full  full |  brief brief brief full  full
GET    users/groups/                    401   none  own    own   own   none  none |  -     -     -     -     -
GET    users/trainings/                 401   none  own    own   none  none  all  |  -     -     -     -     -
GET    tokens/                          401   own   own    own   own   own   own  |  -     -     -     -     -
POST   tokens/                          401   201   201    201   201   201   201  |  -     -     -     -     -
DELETE tokens/<my-token>/               401   204   204    204   204   204   204  |  -     -     -     -     -
DELETE tokens/<token>/                  401   404   204    404   404   404   404  |  404   404   404   404   404

# Groups. The participant, the actor and the owner are in their federation's
GET    groups/                          401   403   403    403   403   403   all  |  -     -     -     -     -
POST   groups/                          401   201   201    201   201   201   201  |  -     -     -     -     -
GET    groups/<group>/                  401   403   200    200   200   403   200  |  403   403   403   403   200
PUT    groups/<group>/                  401   403   200    200   200   403   200  |  403   403   403   403   200
PATCH  groups/<group>/                  401   403   200    200   200   403   200  |  403   403   403   403   200
DELETE groups/<group>/                  401   403   204    204   204   403   204  |  403   403   403   403   204

# Machines. own: those that the federation's actor trains with or has invited
# new: a name that nobody has; again: one that the federation's actor has invited before
GET    clients/                         401   none  403    own   403   403   all  |  -     -     -     -     -
GET    clients/invitations/             401   none  403    own   403   403   all  |  -     -     -     -     -
DELETE clients/invitations/<invitation>/ 401  404   403    204   403   403   204  |  403   404   403   403   204
POST   clients/invitations/ new         401   201   403    201   403   403   201  |  -     -     -     -     -
POST   clients/invitations/ again       401   409   403    201   403   403   201  |  403   409   403   403   201
# With a valid code; whoever has it need not be anybody
POST   clients/enroll/                  201   201   201    201   201   201   201  |  -     -     -     -     -

# Models. train: those of the federation's trainings; local: and one's own local ones; mean: and the mean; all: of both
GET    models/                          401   none  local  train mean  none  all  |  -     -     -     -     -
POST   models/ file                     401   201   403    201   201   201   201  |  -     -     -     -     -
POST   models/ mean                     401   404   403    403   201   404   201  |  403   404   404   404   201
GET    models/<model>/                  401   404   200    200   200   404   200  |  404   404   404   404   200
POST   models/<model>/                  401   404   201    403   403   404   403  |  404   404   404   404   403
# It is being trained
DELETE models/<model>/                  401   404   403    409   409   404   409  |  404   404   404   404   409
DELETE models/<idle>/                   401   404   403    200   200   404   200  |  404   404   404   404   200
GET    models/<model>/metadata/         401   404   200    200   200   404   200  |  404   404   404   404   200
# Metrics: of all clients, or one's own
GET    models/<model>/metrics/          401   404   own    all   all   404   all  |  404   404   404   404   all
POST   models/<model>/metrics/          401   404   201    201   201   404   201  |  404   404   404   404   201
GET    models/<model>/preprocessing/    401   404   200    200   200   404   200  |  404   404   404   404   200
POST   models/<model>/preprocessing/    401   404   403    403   202   404   202  |  404   404   404   404   202
GET    models/<model>/versions/         401   404   200    200   200   404   200  |  404   404   404   404   200
GET    models/<model>/versions/<version>/ \
                                        401   404   200    200   200   404   200  |  404   404   404   404   200
GET    models/<model>/versions/<version>/params/ \
                                        401   404   200    200   200   404   200  |  404   404   404   404   200
GET    models/<model>/versions/<version>/moments/ \
                                        401   404   200    200   200   404   200  |  404   404   404   404   200
# In the SWAG phase of its training, under the model's id and under that of the participant's own local model
POST   models/<swag>/swag/              401   404   201    403   403   404   403  |  404   404   404   404   403
POST   models/<swag-local>/swag/        401   404   201    403   404   404   403  |  404   404   404   404   403
# A mean has no bytes, and no training: it is its owner's alone
GET    models/<mean>/                   401   404   404    404   409   404   409  |  404   404   404   404   409
GET    models/<mean>/metadata/          401   404   404    404   200   404   200  |  404   404   404   404   200
DELETE models/<mean>/                   401   404   404    404   200   404   200  |  404   404   404   404   200

# The participant's own local model. its: what came with it
GET    models/<local>/                  401   404   200    200   404   404   200  |  404   404   404   404   200
POST   models/<local>/                  401   404   201    403   404   404   403  |  404   404   404   404   403
DELETE models/<local>/                  401   404   409    409   404   404   409  |  404   404   404   404   409
GET    models/<local>/metadata/         401   404   200    200   404   404   200  |  404   404   404   404   200
GET    models/<local>/metrics/          401   404   its    its   404   404   its  |  404   404   404   404   its
POST   models/<local>/metrics/          401   404   409    409   404   404   409  |  404   404   404   404   409
GET    models/<local>/preprocessing/    401   404   200    200   404   404   200  |  404   404   404   404   200
POST   models/<local>/preprocessing/    401   404   404    404   404   404   404  |  404   404   404   404   404
GET    models/<local>/versions/         401   404   404    404   404   404   404  |  404   404   404   404   404

# The local model of another participant of the same training
GET    models/<peers>/                  401   404   404    200   404   404   200  |  404   404   404   404   200
POST   models/<peers>/                  401   404   404    403   404   404   403  |  404   404   404   404   403
DELETE models/<peers>/                  401   404   404    409   404   404   409  |  404   404   404   404   409
GET    models/<peers>/metadata/         401   404   404    200   404   404   200  |  404   404   404   404   200
GET    models/<peers>/metrics/          401   404   404    its   404   404   its  |  404   404   404   404   its
POST   models/<peers>/metrics/          401   404   404    409   404   404   409  |  404   404   404   404   409
GET    models/<peers>/preprocessing/    401   404   404    200   404   404   200  |  404   404   404   404   200

# Another one's local model from which the participant is to go on (daisy chaining)
GET    models/<dealt>/                  401   404   200    200   404   404   200  |  404   404   404   404   200
POST   models/<dealt>/                  401   404   201    403   404   404   403  |  404   404   404   404   403
DELETE models/<dealt>/                  401   404   409    409   404   404   409  |  404   404   404   404   409
GET    models/<dealt>/metadata/         401   404   200    200   404   404   200  |  404   404   404   404   200
GET    models/<dealt>/metrics/          401   404   none   its   404   404   its  |  404   404   404   404   its
POST   models/<dealt>/metrics/          401   404   409    409   404   404   409  |  404   404   404   404   409
GET    models/<dealt>/preprocessing/    401   404   200    200   404   404   200  |  404   404   404   404   200

# Questions to models: whoever may download one. These are numbers only, and so 409 to whoever may
POST   inference/ model                 401   404   409    409   409   404   409  |  404   404   404   404   409
POST   inference/ mean                  401   404   404    404   409   404   409  |  404   404   404   404   409
POST   inference/ local                 401   404   409    409   404   404   409  |  404   404   404   404   409
POST   inference/ peers                 401   404   404    409   404   404   409  |  404   404   404   404   409
POST   inference/ dealt                 401   404   409    409   404   404   409  |  404   404   404   404   409

# Trainings. A new one is of the federation's model: plan: in Hansa's words, short: in the older platform's
GET    trainings/                       401   none  none   own   none  none  none |  -     -     -     -     -
POST   trainings/ plan                  401   404   403    403   201   404   201  |  403   404   404   404   201
POST   trainings/ short                 401   404   403    403   201   404   201  |  403   404   404   404   201
# With a machine of the other federation for a participant, which works for any actor, and for no other person
POST   trainings/ machine               401   404   403    403   403   404   201  |  403   404   404   404   201
GET    trainings/<training>/            401   404   200    200   404   404   200  |  404   404   404   404   200
DELETE trainings/<training>/            401   404   403    200   404   404   200  |  404   404   404   404   200
POST   trainings/<draft>/start/         401   404   403    202   404   404   202  |  404   404   404   404   202
POST   trainings/<training>/pause/      401   404   403    202   404   404   202  |  404   404   404   404   202
POST   trainings/<paused>/resume/       401   404   403    202   404   404   202  |  404   404   404   404   202
POST   trainings/<training>/cancel/     401   404   403    202   404   404   202  |  404   404   404   404   202
# The stranger is made a participant, or a machine of the other federation; the other participant is removed
PUT    trainings/<training>/clients/ person \
                                        401   404   403    202   404   404   202  |  404   404   404   404   202
PUT    trainings/<training>/clients/ machine \
                                        401   404   403    202   404   404   202  |  404   404   404   404   202
DELETE trainings/<training>/clients/    401   404   403    200   404   404   200  |  404   404   404   404   200
POST   trainings/<training>/leave/      401   404   204    403   404   404   403  |  404   404   404   404   403
# own: the global model and one's own local one; all: and the other participant's
GET    trainings/<training>/models/     401   404   own    all   404   404   all  |  404   404   404   404   all
GET    trainings/<training>/models/latest/ \
                                        401   404   own    all   404   404   all  |  404   404   404   404   all
# With the one that was dealt
GET    trainings/<chain>/models/        401   404   all    all   404   404   all  |  404   404   404   404   all
GET    trainings/<chain>/models/latest/ 401   404   all    all   404   404   all  |  404   404   404   404   all
GET    trainings/<training>/rounds/     401   404   200    200   404   404   200  |  404   404   404   404   200
# What was sent and measured: by oneself, by all
GET    trainings/<training>/rounds/<round>/ \
                                        401   404   own    all   404   404   all  |  404   404   404   404   all
GET    trainings/<training>/metrics/    401   404   200    200   404   404   200  |  404   404   404   404   200
# What concerns oneself, or every client
GET    trainings/<training>/events/     401   404   own    all   404   404   all  |  404   404   404   404   all
GET    plans/schema/                    401   200   200    200   200   200   200  |  -     -     -     -     -
GET    plan-schema/                     401   200   200    200   200   200   200  |  -     -     -     -     -

# Tasks: the participant's, and the other participant's
POST   tasks/next/                      401   204   200    204   204   204   204  |  -     -     -     -     -
POST   tasks/<task>/heartbeat/          401   404   200    404   404   404   404  |  404   404   404   404   404
GET    tasks/<task>/base/               401   404   200    404   404   404   404  |  404   404   404   404   404
HEAD   tasks/<task>/update/<digest>/    401   404   200    404   404   404   404  |  404   404   404   404   404
PUT    tasks/<task>/update/<digest>/    401   404   200    404   404   404   404  |  404   404   404   404   404
POST   tasks/<task>/report/             401   404   200    404   404   404   404  |  404   404   404   404   404
POST   tasks/<task>/release/            401   404   204    404   404   404   404  |  404   404   404   404   404
POST   tasks/<peers-task>/heartbeat/    401   404   404    404   404   404   404  |  404   404   404   404   404
GET    tasks/<peers-task>/base/         401   404   404    404   404   404   404  |  404   404   404   404   404
HEAD   tasks/<peers-task>/update/<digest>/ \
                                        401   404   404    404   404   404   404  |  404   404   404   404   404
PUT    tasks/<peers-task>/update/<digest>/ \
                                        401   404   404    404   404   404   404  |  404   404   404   404   404
POST   tasks/<peers-task>/report/       401   404   404    404   404   404   404  |  404   404   404   404   404
POST   tasks/<peers-task>/release/      401   404   404    404   404   404   404  |  404   404   404   404   404

# Open to all
GET    health/                          200   200   200    200   200   200   200  |  -     -     -     -     -
GET    schema/                          200   200   200    200   200   200   200  |  -     -     -     -     -
GET    schema/swagger-ui/               200   200   200    200   200   200   200  |  -     -     -     -     -
GET    schema/redoc/                    200   200   200    200   200   200   200  |  -     -     -     -     -
# There while debugging only
GET    dummy/                           404   404   404    404   404   404   404  |  -     -     -     -     -

# Methods that have no row; HEAD is as GET
OPTIONS *                               401   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   *                               401   405   405    405   405   405   405  |  -     -     -     -     -
# Where machines and people without a role are turned away before the method is looked at
OPTIONS clients/                        401   200   403    200   403   403   200  |  -     -     -     -     -
OTHER   clients/                        401   405   403    405   403   403   405  |  -     -     -     -     -
OPTIONS clients/invitations/            401   200   403    200   403   403   200  |  -     -     -     -     -
OTHER   clients/invitations/            401   405   403    405   403   403   405  |  -     -     -     -     -
OPTIONS clients/invitations/<uuid:invitation_id>/ 401 200   403    200   403   403   200  |  -     -     -     -     -
OTHER   clients/invitations/<uuid:invitation_id>/ 401 405   403    405   403   403   405  |  -     -     -     -     -
OPTIONS clients/enroll/                 200   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   clients/enroll/                 405   405   405    405   405   405   405  |  -     -     -     -     -
OPTIONS health/                         200   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   health/                         405   405   405    405   405   405   405  |  -     -     -     -     -
OPTIONS schema/                         200   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   schema/                         405   405   405    405   405   405   405  |  -     -     -     -     -
OPTIONS schema/swagger-ui/              200   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   schema/swagger-ui/              405   405   405    405   405   405   405  |  -     -     -     -     -
OPTIONS schema/redoc/                   200   200   200    200   200   200   200  |  -     -     -     -     -
OTHER   schema/redoc/                   405   405   405    405   405   405   405  |  -     -     -     -     -
OPTIONS dummy/                          404   404   404    404   404   404   404  |  -     -     -     -     -
OTHER   dummy/                          404   404   404    404   404   404   404  |  -     -     -     -     -
""")

AFTER_REMOVAL = """\
GET    models/<local>/                  200
POST   models/<local>/                  403
DELETE models/<local>/                  409
GET    models/<local>/metadata/         200
GET    models/<local>/metrics/          200
POST   models/<local>/metrics/          409
POST   models/<swag-local>/swag/        403
POST   inference/ local                 409
POST   trainings/<training>/leave/      204
POST   tasks/<task>/heartbeat/          200
GET    tasks/<task>/base/               409
HEAD   tasks/<task>/update/<digest>/    409
PUT    tasks/<task>/update/<digest>/    409
POST   tasks/<task>/report/             409
POST   tasks/<task>/release/            204
"""
"""What a participant that was removed gets instead of 404: its own local models, and that its tasks are closed."""

OTHERS = {"^api/", "api-auth/login/", "api-auth/logout/", "livez", "readyz", "metrics"}
"""The way to a session, which asks for a password; all other paths of the API: 404; and what machines
ask of the server as a whole: test_probes.py and test_metrics_scraped.py say who may."""

SAFE = {"GET", "HEAD", "OPTIONS"}


@pytest.fixture
async def world(person, nobody, tmp_path) -> World:
    own = await found_realm("luebeck", person, tmp_path)
    foreign = await found_realm("visby", person, tmp_path)

    def others():
        people = {
            "stranger": person("mallory", actor=True, client=True),
            "staff": person("staff", is_staff=True),
            "root": person("root", is_superuser=True, is_staff=True),
        }
        for each in people.values():
            with_password(each)
        return {**people, "tokens": {str(token.user_id): str(token.id) for token in Token.objects.all()}}

    return World(own, foreign, anonymous=nobody, **await call(others))


@pytest.fixture
async def snapshot(world) -> AsyncIterator[Snapshot]:
    taken = await call(Snapshot)
    yield taken
    await call(taken.drop)


@pytest.fixture
def seen(world, snapshot):
    """Send a row's request; a status, or a word where one is wanted. What it may have changed is put back."""

    async def ask(row: Row, role: str, side: str, wanted: str) -> str:
        realm, caller = getattr(world, side), world.caller(role)
        answer = await send(world, row, role, realm)
        if changed := await call(snapshot.changed):
            await call(snapshot.restore)
        if changed and (row.method in SAFE or answer.is_client_error):
            return f"{answer.status_code}, and changed {', '.join(changed)}"
        if answer.status_code != 200 or wanted.isdecimal():
            return str(answer.status_code)
        return word_for(row, answer.json(), world, realm, caller)

    return ask


async def send(world, row, role, realm):
    url, body = row.url(world.named(realm, role)), body_for(row, world, realm)
    return await world.caller(role).request(row.method, url, **body)


def test_every_endpoint_stands_in_the_table():
    pages = {str(page.pattern) for page in dashboard.urlpatterns}  # tests/dashboard has a table of its own for them
    served = {path for path in patterns(get_resolver().url_patterns) if not path.startswith("admin/")} - pages

    assert served == {f"api/{path}" for path in TABLE.patterns} | OTHERS


async def test_every_role_gets_what_the_table_says(seen):
    wrong = [
        f"{row.label} as {role}, {side}: wanted {wanted}, seen {got}"
        for role in ROLES
        for row in TABLE.rows
        for side, wanted in row.cells(role)
        if (got := await seen(row, role, side, wanted)) != wanted
    ]

    assert not wrong, "\n" + "\n".join(wrong)


async def test_what_has_no_row_is_answered_as_the_rules_say_and_changes_nothing(world, snapshot):
    wrong = [
        f"{row.label} as {role}, {side}: wanted {wanted}, seen {got}"
        for role in ROLES
        for row in TABLE.implied
        for side, wanted in row.cells(role)
        if (got := str((await send(world, row, role, getattr(world, side))).status_code)) != wanted
    ]

    assert not wrong, "\n" + "\n".join(wrong)
    assert await call(snapshot.changed) == []


async def test_what_is_not_ones_own_to_see_is_told_as_what_is_not_there(world, snapshot):
    """Of 404 no role can tell whether there is such an object."""
    unknown = {name: str(uuid4()) for name, id_ in world.foreign.named.items() if re.fullmatch(r"[0-9a-f-]{36}", id_)}
    wrong = []
    for row in TABLE.rows:
        if row.foreign.get("participant") != "404":
            continue
        body = body_for(row, world, world.foreign)
        caller, theirs = world.own.people.client, world.foreign.named
        answers = [
            await caller.request(row.method, row.url(named), **body) for named in (theirs, {**theirs, **unknown})
        ]
        of_others, of_nobody = (f"{answer.status_code} {_without_ids(answer.text)}" for answer in answers)
        if of_others != of_nobody:
            wrong.append(f"{row.label}: {of_others} of others' objects, {of_nobody} of nobody's")

    assert not wrong, "\n" + "\n".join(wrong)


def _without_ids(text: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", text)


async def test_who_was_removed_from_a_training_sees_nothing_of_it_but_what_was_its_own(world, snapshot):
    client = world.own.people.client
    for training_id in world.own.trainings:
        await call(trainings.remove_clients, training_id=UUID(training_id), clients=[client.user])

    seen = {
        row.label: str((await send(world, row, "participant", world.own)).status_code)
        for row in TABLE.rows
        if row.foreign and row.path.startswith(("models/<", "inference/", "trainings/<", "tasks/<"))
    }

    remaining = {label: status for label, status in seen.items() if status != "404"}
    assert remaining == {" ".join(words[:-1]): words[-1] for words in map(str.split, AFTER_REMOVAL.splitlines())}


async def test_of_what_is_not_served_everybody_is_told_so(nobody, mallory, root):
    for caller in (nobody, mallory, root):
        for method in METHODS:
            assert (await caller.request(method, "/api/trainings/nothing/of/the/kind/")).status_code == 404, method
