"""How the older platform was built and run, where no other test would notice if ours were built like that.

docs/explanation/older-platform.md has all its defects, each with its decision and its test; the numbers are its rows.
"""

import ast
import subprocess
import sys
import tomllib
import tracemalloc
import uuid
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.db import models
from django.db.backends.utils import CursorWrapper
from drf_spectacular.generators import SchemaGenerator

import hansa
from hansa.core.params import spec_of
from hansa.server.accounts import services as accounts
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.services import trainings
from hansa.server.trainings.services.aggregation import Job, StoredUpdate
from support.older import accepted
from support.serving import environment
from support.work import add_up, file_of, lease, settle, start, store_model, update, upload_and_report

SOURCES = Path(hansa.__file__).parent
PROJECT = tomllib.loads((SOURCES.parents[1] / "pyproject.toml").read_text())["project"]


# 6: no broker, nothing unpickled


UNSAFE = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
BROKERS = {"celery", "kombu", "redis", "dramatiq", "rq", "huey", "pika"}


def imported_by(file: Path) -> set[str]:
    """The top packages that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


IN_THE_SANDBOX = {"sandbox/programs/loading.py": {"pickle"}}
"""For the name of the error with which torch's weights-only loader refuses."""


def test_no_module_of_hansa_can_unpickle_or_speak_to_a_broker():
    imports = {str(file.relative_to(SOURCES)): imported_by(file) for file in SOURCES.rglob("*.py")}

    assert len(imports) > 200
    assert {file: found for file, names in imports.items() if (found := names & (UNSAFE | BROKERS))} == (IN_THE_SANDBOX)


# 33: where the weights are


async def test_of_all_that_a_round_makes_the_database_holds_no_weights(alice, bob, make_training, tmp_path):
    """Of 400 kB of random numbers, uploaded once and sent back once, all rows together hold less than a tenth."""
    params = {"w": np.random.default_rng(1).normal(size=100_000).astype(np.float32)}
    model = await call(store_model, alice, params, frozenset(), tmp_path)
    training = await call(lambda: start(make_training(bob, model=model)))
    await upload_and_report(bob, await call(lease, bob), file_of({"w": -params["w"]}, frozenset()))
    await call(settle, training)
    await call(add_up, training)

    rows = await call(lambda: [row for table in apps.get_models() for row in table._default_manager.values()])
    assert len(rows) > 10
    assert sum(len(repr(row)) for row in rows) < 40_000


def test_bytes_stand_in_rows_as_checksums_and_as_texts_of_metrics_only():
    fields = {field for table in apps.get_models() for field in table._meta.fields}

    assert {str(field) for field in fields if isinstance(field, models.BinaryField)} == {
        "blobs.Blob.checksums",
        "registry.Metric.text",
    }


# 36: memory


def peak_of_an_aggregation(spec, stored, clients):
    """The most bytes held at once, by Python and NumPy."""
    updates = tuple(
        StoredUpdate(ordinal, stored.sha256, 1, stored.size, stored.checksums) for ordinal in range(clients)
    )
    job = Job(uuid.uuid4(), uuid.uuid4(), uuid.uuid4(), 1, spec, updates)
    tracemalloc.start()
    with store.BlobFile() as blob:
        aggregate(job, blob, Event())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_an_aggregation_takes_as_much_memory_for_forty_clients_as_for_two(home):
    params = {"w": np.ones(6_000_000, np.float32)}
    with store.BlobFile() as blob:
        blob.write(file_of(params, frozenset()).content)
        stored = blob.finish()
    store.place(blob.path, stored.sha256)

    two, forty = (peak_of_an_aggregation(spec_of(params, buffers=frozenset()), stored, each) for each in (2, 40))

    assert stored.size > 20 * 2**20
    assert forty < two + stored.size / 2, (two, forty)


# 39: queries


def lists():
    """Every path of the API that answers with an array."""
    for path, item in SchemaGenerator().get_schema(request=None, public=True)["paths"].items():
        answer = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
        if answer.get("schema", {}).get("type") == "array":
            yield path


@pytest.fixture
def queries(monkeypatch):
    """What is asked of the database, whichever thread asks."""
    asked: list[str] = []
    execute = CursorWrapper._execute

    def counted(cursor, sql, *arguments):
        asked.append(sql)
        return execute(cursor, sql, *arguments)

    monkeypatch.setattr(CursorWrapper, "_execute", counted)
    return asked


@pytest.fixture
async def federation(alice, bob, person, make_training, tmp_path, clock):
    """Everything there is lists of, as seen by Alice, who may see it all; and a function that makes more of each."""
    alice.user.is_superuser = True
    await call(alice.user.save)
    training = await call(lambda: start(make_training(bob, rounds=9, keep_updates=9)))
    members = [bob]

    def one_more():
        number = Group.objects.count()
        members.append(person(f"somebody-{number}", client=True))
        alice.user.groups.add(Group.objects.create(name=f"group {number}"))
        accounts.create_token(user_id=alice.user.id, name="more", expires_in_seconds=None, now=clock.now)
        accounts.invite(actor=alice.user, username=f"guest-{number}", expires_in_seconds=60, now=clock.now)
        model = store_model(alice, {"w": np.full(3, number, np.float32)}, frozenset(), tmp_path)
        start(make_training(*members, model=model))
        trainings.add_clients(training_id=training.id, clients=[members[-1].user])

    async def more():
        """Three of everything; then a round, in which all who were there before send an update and a metric."""
        number, selected = await call(training.rounds.count), list(members)
        for _ in range(3):
            await call(one_more)
        for client in selected:
            metrics = [("loss", 0.5)]
            await accepted(client, training.model_id, update().content, round=number - 1, metrics=metrics)
        await call(settle, training)
        await call(add_up, training)

    return training, more


async def test_every_list_asks_as_many_queries_of_many_rows_as_of_few(alice, federation, queries):
    training, more = federation

    async def lengths_and_queries():
        seen = {}
        for path in lists():
            url = path.format(model_id=training.model_id, training_id=training.id)
            await alice.get(url)  # whose credentials are known from then on
            queries.clear()
            answer = await alice.get(url)
            assert answer.status_code == 200, answer.text
            seen[path] = len(answer.json()), len(queries)
        return seen

    await more()
    few = await lengths_and_queries()
    await more()
    many = await lengths_and_queries()

    assert len(few) >= 14
    assert all(asked > 0 for _, asked in few.values())
    assert all(many[path][0] > few[path][0] > 0 for path in few), (few, many)
    assert {path: asked for path, (_, asked) in many.items()} == {path: asked for path, (_, asked) in few.items()}


# 41: what there is to install


def test_every_dependency_comes_from_a_package_index_and_the_servers_are_without_torch():
    extras = PROJECT["optional-dependencies"]
    every = [*PROJECT["dependencies"], *(each for extra in extras.values() for each in extra)]

    assert not [each for each in every if "@" in each or "://" in each]
    assert not [each for each in [*PROJECT["dependencies"], *extras["server"]] if "torch" in each]


def test_the_server_can_be_imported_where_there_is_no_torch_and_no_broker(tmp_path):
    """Each of its modules, in a process of its own."""
    program = f"""
import importlib, pkgutil, sys
for name in {sorted({"torch", "torchvision"} | BROKERS)!r}:
    sys.modules[name] = None  # to import it is an ImportError from here on
import django
django.setup()
import hansa.server
found = [module.name for module in pkgutil.walk_packages(hansa.server.__path__, "hansa.server.")]
for name in found:
    importlib.import_module(name)
print(len(found))
"""
    settings = {"DJANGO_SETTINGS_MODULE": "hansa.server.settings"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path / "home", settings),
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
