"""Services that come at the same time share one transaction, and so one commit: the disk is waited for once for all.

    await share(service, ...)

On SQLite, whose writer does one thing after the other. What each service does in its own `transaction.atomic()` is a
savepoint there: if it raises, that is undone, and nobody else's work. Nobody is answered before the common commit, and
if that fails it has failed for all of them. What a service has told Django to do on commit is done then, in the order
of the services. What it notes, for the log and elsewhere, is its own caller's. On other databases this is `call`: their
threads commit side by side, and rows locked until a common commit would have services wait for each other in circles.

For services that are short, write in one `atomic()`, and do nothing after it that counts on its being committed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass
from functools import partial
from threading import local
from typing import Any, ParamSpec, TypeVar

from django.db import IntegrityError, transaction

from hansa.server.lifecycle.batches import Batches
from hansa.server.lifecycle.bridge import call, has_one_writer

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    """A service, and in whose context it is run."""

    context: Context
    service: Callable[[], object]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of a service."""

    value: Any = None  # Any: whatever it returns
    error: BaseException | None = None


async def share(service: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a service on the writer thread, in a transaction with what else comes meanwhile. Committed when this returns.

    Raises what the service raises, or what has kept their transaction from being committed.
    """
    if not has_one_writer():
        return await call(service, *args, **kwargs)
    outcome = await _SHARED.ask(_Job(copy_context(), partial(service, *args, **kwargs)))
    if outcome.error is not None:
        raise outcome.error
    return outcome.value  # type: ignore[no-any-return]  # the service's own


async def _together(jobs: Sequence[_Job]) -> Sequence[_Outcome]:
    return await call(_committed, jobs)


def _committed(jobs: Sequence[_Job]) -> Sequence[_Outcome]:
    """Never raises: who asked is told, and not their common worker."""
    if len(jobs) == 1:  # its own transaction is the only one
        return [_outcome(jobs[0])]
    try:
        with transaction.atomic(), _marked():
            outcomes = [_outcome_within(job) for job in jobs]
            _let_each_hook_fail_alone()
        return outcomes
    except IntegrityError:  # found by the commit, in rows of one of them: all is undone, and each is done by itself
        return [_outcome(job) for job in jobs]
    except BaseException as error:  # noqa: BLE001  # whatever it is, nobody's rows are committed
        return [_Outcome(error=error)] * len(jobs)


def _let_each_hook_fail_alone() -> None:
    """What is done on commit comes after it: if it fails, nobody's rows have, and the others' is done all the same.

    The log has the error, as of any hook that is registered with `robust=True`.
    """
    connection = transaction.get_connection()
    connection.run_on_commit = [(savepoints, hook, True) for savepoints, hook, _ in connection.run_on_commit]


class _Here(local):
    """Of a thread."""

    is_shared = False


_here = _Here()


def is_shared() -> bool:
    """Whether this runs in a transaction that several services share: what is done here is committed later."""
    return _here.is_shared


@contextmanager
def _marked() -> Iterator[None]:
    _here.is_shared = True
    try:
        yield
    finally:
        _here.is_shared = False


def _outcome_within(job: _Job) -> _Outcome:
    outcome = _outcome(job)
    if transaction.get_rollback():
        # On a full disk SQLite gives up all of a transaction. Django would go on, and end it without a word.
        raise outcome.error or transaction.TransactionManagementError("A service broke the transaction that it shared.")
    return outcome


def _outcome(job: _Job) -> _Outcome:
    try:
        return _Outcome(job.context.run(job.service))
    except BaseException as error:  # noqa: BLE001  # its caller's to hear
        return _Outcome(error=error)


_SHARED: Batches[_Job, _Outcome] = Batches(_together)
