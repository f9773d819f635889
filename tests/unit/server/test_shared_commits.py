"""Services that share a commit: each succeeds or fails for itself, all are committed together, or none."""

import asyncio
import threading
from contextvars import ContextVar
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone

from hansa.crashpoints import observed
from hansa.server.accounts.models import Token, User
from hansa.server.blobs import services as blobs
from hansa.server.blobs import store
from hansa.server.blobs.models import Blob
from hansa.server.changes import change
from hansa.server.lifecycle.bridge import call, read
from hansa.server.lifecycle.shared import share
from support.databases import on_postgresql

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(on_postgresql(), reason="there each service has a transaction of its own"),
]


class Gate:
    """Keeps the writer busy until everybody has asked."""

    def __init__(self):
        self._go = threading.Event()

    async def let_through(self, *asked):
        """What comes of these, asked while the writer is busy: the first alone, and all others together."""
        busy = asyncio.create_task(share(self._go.wait, 10))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(each) for each in asked]
        await asyncio.sleep(0)
        self._go.set()
        await busy
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def gate():
    return Gate()


def add(name):
    """A service: one row, and how many transactions are open around it."""
    with change("tasks.report"):
        User.objects.create(username=name)
        return len(connection.savepoint_ids)


def add_and_fail(name):
    with change("tasks.report"):
        User.objects.create(username=name)
        raise KeyError(name)


def names():
    return sorted(User.objects.values_list("username", flat=True))


async def test_what_comes_while_the_writer_is_busy_is_one_transaction(gate):
    assert await gate.let_through(share(add, "ada"), share(add, "bob"), share(add, "eve")) == [1, 1, 1]
    assert await read(names) == ["ada", "bob", "eve"]


async def test_one_alone_has_a_transaction_of_its_own():
    assert await share(add, "ada") == 0


async def test_what_one_raises_undoes_what_that_one_did_and_nothing_else(gate):
    ada, error, eve = await gate.let_through(share(add, "ada"), share(add_and_fail, "bob"), share(add, "eve"))

    assert (ada, eve) == (1, 1)
    assert isinstance(error, KeyError)
    assert await read(names) == ["ada", "eve"]


async def test_a_commit_that_fails_has_failed_for_all(gate, monkeypatch):
    def full():
        raise OperationalError("database or disk is full")

    def fail_the_commit():
        monkeypatch.setattr(connection, "_commit", full)
        transaction.on_commit(lambda: pytest.fail("nothing was committed"))
        return add("bob")

    first, second = await gate.let_through(share(add, "ada"), share(fail_the_commit))
    await call(monkeypatch.undo)

    assert isinstance(first, OperationalError)
    assert first is second
    assert await read(names) == []


async def test_a_disk_that_fills_up_amid_one_of_them_is_told_to_all_and_nothing_of_the_others_is_lost_unsaid(gate):
    def run_into_a_full_disk():
        with change("tasks.report"):
            User.objects.create(username="bob")
            connection.connection.execute("ROLLBACK")  # as SQLite does by itself
            raise OperationalError("database or disk is full")

    results = await gate.let_through(share(add, "ada"), share(run_into_a_full_disk), share(add, "eve"))

    assert [str(result) for result in results] == ["database or disk is full"] * 3
    assert await read(names) == []
    assert await share(add, "eve") == 0


async def test_rows_that_the_commit_refuses_are_refused_to_their_own_service_alone(gate):
    def point_at_nobody():
        with change("tasks.report"):
            Token.objects.create(user_id=uuid4(), name="lost", digest="0" * 64, created_at=timezone.now())

    ada, error, eve = await gate.let_through(share(add, "ada"), share(point_at_nobody), share(add, "eve"))

    assert "FOREIGN KEY" in str(error)
    assert (ada, eve) == (0, 0)
    assert await read(names) == ["ada", "eve"]


async def test_what_is_to_be_done_on_commit_is_done_after_it_in_the_order_of_the_services(gate):
    seen = []

    def tell(name):
        with change("tasks.report"):
            transaction.on_commit(lambda: seen.append((name, connection.in_atomic_block)))

    await gate.let_through(share(tell, "ada"), share(add_and_fail, "nobody"), share(tell, "bob"))

    assert seen == [("ada", False), ("bob", False)]


async def test_a_crash_before_the_common_commit_finds_nothing_written_and_one_after_it_everything(gate):
    seen = []

    def note(point):
        seen.append((point.rpartition(".")[2], connection.in_atomic_block))

    with observed(note):
        await gate.let_through(share(add, "ada"), share(add, "bob"))

    assert seen == [("written", True), ("written", True), ("committed", False), ("committed", False)]


async def test_a_crash_after_the_commit_leaves_what_was_committed_and_nobody_answered():
    class Crash(BaseException):
        """The end of the process, as far as a test can play it."""

    def die(point):
        if point == "tasks.report.committed":
            raise Crash

    with observed(die), pytest.raises(Crash):
        await share(add, "ada")
    assert await read(names) == ["ada"]


async def test_each_service_sees_the_context_of_its_caller(gate):
    language = ContextVar("language", default="en")

    async def asking(value):
        language.set(value)
        return await share(language.get)

    assert await gate.let_through(asking("nds"), asking("da")) == ["nds", "da"]


async def test_who_has_gone_before_the_transaction_has_begun_has_no_part_in_it(gate):
    async def ask_and_go():
        leaving = asyncio.create_task(share(add, "bob"))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])

    assert await gate.let_through(share(add, "ada"), ask_and_go(), share(add, "eve")) == [1, None, 1]
    assert await read(names) == ["ada", "eve"]


async def test_what_fails_after_the_commit_fails_for_nobody_and_keeps_nothing_of_the_others(gate, caplog):
    done = []

    def add_and_tell(name, fails):
        with change("tasks.report"):
            User.objects.create(username=name)
            transaction.on_commit(lambda: done.append(name) if not fails else missing(name))
        return name

    def missing(name):
        raise IntegrityError(name)

    people = [("ada", False), ("bob", True), ("eve", False)]
    assert await gate.let_through(*(share(add_and_tell, *each) for each in people)) == ["ada", "bob", "eve"]

    assert done == ["ada", "eve"]
    assert await read(names) == ["ada", "bob", "eve"]
    assert "IntegrityError: bob" in caplog.text


@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_file_whose_uploader_went_and_came_again_while_its_row_was_written_is_there_with_its_row(home, cancels):
    """Each time the request is cancelled; the file must not be taken for one that nothing refers to."""
    begun, go = threading.Event(), threading.Event()
    path = store.new_file()
    path.write_bytes(bytes([cancels]))
    digests = store.digested(path)

    def note():
        with change("tasks.record_upload"):
            blobs.see(digests=digests, media_type=blobs.SAFETENSORS, now=timezone.now())
            begun.set()
            go.wait(10)

    keeping = asyncio.create_task(blobs.keep(path, digests.sha256, partial(share, note)))
    while not begun.is_set():  # noqa: ASYNC110  # a thread tells
        await asyncio.sleep(0)
    for _ in range(cancels):
        keeping.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
    go.set()
    await asyncio.wait([keeping])

    assert keeping.cancelled()
    assert await read(Blob.objects.filter(sha256=digests.sha256).exists)
    assert store.path_of(digests.sha256).read_bytes() == bytes([cancels])
