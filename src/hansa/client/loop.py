"""The client's loop: lease a task, fetch the model, work, upload, report; again, for ever, whatever the network does.

Errors are dealt with after the table in `remedy`; what must survive a kill is written down in `journal` first.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import msgspec

from hansa.client import events, remedy
from hansa.client.answers import decoded
from hansa.client.api import params_path
from hansa.client.cache import ParamsCache
from hansa.client.delivery import Delivery
from hansa.client.errors import ApiError, BadAnswer, HansaError, UsageError
from hansa.client.heartbeat import Heart, Held
from hansa.client.journal import Journal, Outcome, Owner
from hansa.client.patience import Patience, Unwanted
from hansa.client.remedy import Remedy
from hansa.client.state import StateFolder
from hansa.client.stopping import Stopping
from hansa.client.trainer import Config
from hansa.client.transfer import fetch
from hansa.client.transport import JSON, Transport
from hansa.client.work import TrainerFailed, Workbench, one_line
from hansa.crashpoints import crash_point
from hansa.formats.errors import ModelFileError
from hansa.protocol import PROTOCOL_VERSION, Answer
from hansa.protocol.errors import ErrorCode
from hansa.protocol.tasks import Task, TaskRelease, TaskRequest

logger = logging.getLogger(__name__)

ANSWER_MARGIN = 30.0
"""Seconds an answer may take beyond the wait that was asked for."""
RELEASE_SECONDS = 1.0
"""For each step of giving a task back when stopping; if it fails, the lease ends by itself."""


class _Needed(Answer, frozen=True):
    """As much of a task as clients of every version understand."""

    protocol: int = PROTOCOL_VERSION
    kind: str = ""


class Loop:
    """One run of a client, in one thread. Ends by Stopping, or by the HansaError with which the server refuses it."""

    def __init__(
        self,
        transport: Transport,
        folder: StateFolder,
        owner: Owner,
        workbench: Workbench,
        heart: Heart,
        patience: Patience,
        report: Callable[[events.Event], None],
        *,
        wait: float,
    ) -> None:
        self._transport = transport
        self._instance = folder.instance
        self._journal = Journal(folder.path, owner)
        self._cache = ParamsCache(folder.path)
        self._delivery = Delivery(transport, self._journal, patience, report)
        self._workbench = workbench
        self._heart = heart
        self._patience = patience
        self._report = report
        self._wait = wait
        self._known = False
        self._trace = ""
        self._dropped = ""
        self._drops = patience.backoff()

    def run(self) -> None:
        """Deliver what an earlier run has left, then take one task after the other."""
        self._deliver_what_is_left()
        while True:
            task = self._lease()
            with self._heart.holding(task) as held:
                self._take(task, held)

    def _deliver_what_is_left(self) -> None:
        """The results of a run that was killed, or stopped, before it had their receipts.

        Without waiting to be asked: a task whose round has closed meanwhile is offered to nobody, and what comes of it
        may count all the same.
        """
        if others := self._journal.others():
            logger.warning(
                "results for other servers or users wait in %s; run their clients again to deliver them",
                ", ".join(others),
            )
        left = self._journal.undelivered()
        self._known = bool(left)
        for task in left:
            with self._heart.holding(task) as held:
                self._take(task, held)

    def _lease(self) -> Task:
        pace = self._patience.backoff()
        while True:
            self._report(events.Waiting(self._transport.url))
            began = monotonic()
            task = self._patience.until_done(self._ask, remedy=lambda error: remedy.for_lease(error, known=self._known))
            self._known = True
            if task is not None:
                return task
            if monotonic() - began < min(self._wait, 1.0):
                self._patience.pause(pace.next())  # a server that does not wait is not asked in a tight circle
            else:
                pace.reset()

    def _ask(self) -> Task | None:
        self._trace = self._transport.trace()  # all that comes of a task is one, from the question on
        answer = self._transport.request(
            "POST",
            "/api/tasks/next/",
            content=msgspec.json.encode(TaskRequest(instance=self._instance)),
            headers=JSON,
            params={"wait": self._wait},
            timeout=self._wait + ANSWER_MARGIN,
        )
        if answer.status_code == 204:
            return None
        needed = decoded(answer, _Needed)  # before the rest, which only a client of that version understands
        if needed.protocol > PROTOCOL_VERSION:
            what = f"a task of kind {needed.kind!r}" if needed.kind else "a task"
            raise UsageError(
                f"the server has {what} that needs version {needed.protocol} of the protocol; this client speaks "
                f"{PROTOCOL_VERSION}. Install a newer hansa."
            )
        return decoded(answer, Task)

    def _take(self, task: Task, held: Held) -> None:
        """Do a task, or say what became of it; stopped in the middle, give it back.

        Not if its result is in the journal: the round would go on without it. The lease runs on, and the client that
        is started again delivers the result.
        """
        try:
            self._try(task, held)
        except Stopping:
            if self._journal.find(task) is None:
                self._give_back_quickly(task)
            raise

    def _try(self, task: Task, held: Held) -> None:
        try:
            self._do(task, held)
        except Unwanted as error:
            self._drop(task, str(error))
        except TrainerFailed as error:
            logger.error("the trainer failed in round %d", task.round, exc_info=error.__cause__)
            self._fail(task, str(error))
        except ApiError as error:
            match remedy.for_task(error):
                case Remedy.STOP:
                    raise
                case Remedy.FAIL:
                    self._fail(task, f"the server refused it: {error.detail}")
                case _:
                    self._drop(task, error.detail, keep=error.code == ErrorCode.WRONG_STATE)
        except (HansaError, ModelFileError, OSError) as error:
            # A wrong result, a plan this client does not understand, a full disk here: a later round may go better.
            logger.error("round %d cannot be done: %s", task.round, error)
            self._fail(task, one_line(error))

    def _do(self, task: Task, held: Held) -> None:
        entry = self._journal.find(task)
        self._report(events.Leased(task, resumed=entry is not None))
        if entry is None:
            self._workbench.prepare(task)
            crash_point("client.leased")
            outcome = self._work(task, self._model(task, held), held)
            crash_point("client.trained")
            entry = self._journal.trained(task, outcome, self._trace)
            crash_point("client.result_noted")
            self._report(events.Trained(task, outcome.num_examples, outcome.metrics, outcome.seconds))
        else:
            self._transport.trace(entry.trace)
        receipt = self._delivery.deliver(task, entry, held)
        crash_point("client.reported")
        self._journal.forget(task.id)
        self._report(events.Reported(task, receipt.verdict, late=receipt.late))

    def _model(self, task: Task, held: Held) -> Path:
        source = _beginning(task)

        def download(path: Path) -> None:
            began = monotonic()
            self._patience.until_done(lambda: self._fetch(task, source, path), held=held)
            self._report(events.Downloaded(task, monotonic() - began))

        return self._cache.path(task.digest, download)

    def _fetch(self, task: Task, source: str, path: Path) -> None:
        def moving(done: int, size: int) -> None:
            self._report(events.Moving(task, upload=False, done=done, size=size))

        fetch(self._transport, source, path, digest=task.digest, size=task.size, sync=False, moving=moving)

    def _work(self, task: Task, model: Path, held: Held) -> Outcome:
        def cancelled() -> bool:
            return held.cancelled() or self._patience.is_over()

        config = Config.of(task, cancelled=cancelled, progress=held.tell_progress)
        try:
            outcome = self._workbench.do(task, config, model, self._journal.update(task.id))
        except (TrainerFailed, HansaError):
            self._patience.check(held)  # a trainer told that it is cancelled may raise or return what it likes
            raise
        self._patience.check(held)
        return outcome

    def _drop(self, task: Task, reason: str, *, keep: bool = False) -> None:
        """Do no more about a task; `keep` its result where the server is going to offer it again."""
        if not keep:
            self._journal.forget(task.id)
        self._report(events.Dropped(task, reason, failed=False))
        if task.id == self._dropped:
            self._patience.pause(self._drops.next())  # the server offers again what cannot be done
        else:
            self._drops.reset()
        self._dropped = task.id

    def _fail(self, task: Task, reason: str) -> None:
        self._journal.forget(task.id)
        self._report(events.Dropped(task, reason, failed=True))
        try:
            self._patience.until_done(lambda: self._release(self._transport, task, reason[:500], failed=True))
        except ApiError as error:
            if remedy.for_task(error) is Remedy.STOP:
                raise
            logger.info("the task was closed already: %s", error)

    def _give_back_quickly(self, task: Task) -> None:
        with self._transport.again(timeout=RELEASE_SECONDS) as transport:
            try:
                self._release(transport, task, "the client was stopped", failed=False)
            except HansaError as error:
                logger.info("the task could not be given back; its lease ends by itself: %s", error)

    def _release(self, transport: Transport, task: Task, reason: str, *, failed: bool) -> None:
        body = TaskRelease(reason=reason, failed=failed)
        transport.call("POST", f"/api/tasks/{task.id}/release/", body=body)


def _beginning(task: Task) -> str:
    """Where the params are that the task begins from: on this server, whatever an answer says."""
    if not task.params:
        return params_path(task.model, task.version)
    if not task.params.startswith("/api/"):
        raise BadAnswer(f"the task begins from {task.params[:200]!r}, which is no path of the server's API")
    return task.params
