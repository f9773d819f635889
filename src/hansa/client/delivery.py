"""From a result on disk to the server's receipt: upload what is missing, then report, which is the commit."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic

from hansa.client.errors import ApiError, HansaError
from hansa.client.events import Event, Moving, Uploaded
from hansa.client.heartbeat import Held
from hansa.client.journal import Entry, Journal
from hansa.client.patience import Patience, Unwanted
from hansa.client.remedy import Remedy, for_task
from hansa.client.transfer import bytes_held, send
from hansa.client.transport import Transport
from hansa.crashpoints import crash_point
from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import Receipt, Task, TaskReport

ASK_FIRST_BYTES = 1 << 20
"""From this size on, the server is asked what it holds, and whether it still wants the update, before it is sent."""


class Delivery:
    """Delivers the results of one client; the journal is written between the steps."""

    def __init__(
        self, transport: Transport, journal: Journal, patience: Patience, report: Callable[[Event], None]
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._patience = patience
        self._report = report

    def deliver(self, task: Task, entry: Entry, held: Held) -> Receipt:
        """Upload and report until there is a receipt. Raises ApiError when the server wants none of it."""
        outcome = entry.outcome
        body = TaskReport(
            num_examples=outcome.num_examples,
            digest=outcome.digest,
            metrics=outcome.metrics,
            seconds=outcome.seconds,
            calibration=outcome.calibration,
        )
        backoff = self._patience.backoff()
        while True:
            if outcome.digest is not None and not entry.uploaded:
                self._upload(task, outcome.digest, outcome.size, held)
                crash_point("client.uploaded")
                entry = self._journal.uploaded(entry)
                crash_point("client.upload_noted")
            try:
                # Also if a heartbeat says by now that the task is over: it is, once it is reported, and the answer to
                # that may be lost. What became of the report, only its own answer tells.
                return self._patience.until_done(lambda: self._commit(task, body), remedy=_for_report)
            except ApiError as error:
                if error.code != ErrorCode.UPLOAD_INCOMPLETE:
                    raise
            # The server has lost bytes that it had: they are sent again, with a pause, as it may lose them again.
            entry = self._journal.uploaded(entry, whole=False)
            self._patience.pause(backoff.next())

    def _commit(self, task: Task, body: TaskReport) -> Receipt:
        return self._transport.call("POST", f"/api/tasks/{task.id}/report/", body=body, into=Receipt)

    def _upload(self, task: Task, digest: str, size: int, held: Held) -> None:
        path, update = f"/api/tasks/{task.id}/update/{digest}/", self._journal.update(task.id)
        began = monotonic()
        ask = size > ASK_FIRST_BYTES

        def moving(done: int, size: int) -> None:
            self._report(Moving(task, upload=True, done=done, size=size))

        def attempt() -> None:
            nonlocal ask
            start = bytes_held(self._transport, path) if ask else 0
            ask = True  # after a try that broke off, nobody but the server knows where
            try:
                send(self._transport, path, update, start=start, size=size, moving=moving)
            except ApiError as error:
                if error.code == ErrorCode.DIGEST_MISMATCH and _digest(update) != digest:
                    raise Unwanted("the update was damaged on this disk, and is computed again") from error
                raise

        self._patience.until_done(attempt, held=held)
        self._report(Uploaded(task, size, monotonic() - began))


def _for_report(error: HansaError) -> Remedy:
    if isinstance(error, ApiError) and error.code == ErrorCode.UPLOAD_INCOMPLETE:
        return Remedy.DROP  # the report as it stands, not the task: what is missing is sent first
    return for_task(error)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
