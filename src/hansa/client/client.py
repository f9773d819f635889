"""The client: takes part in the trainings of one server with one trainer, until it is stopped."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random

from hansa.client import signals
from hansa.client.api import Api
from hansa.client.errors import HansaError, UsageError
from hansa.client.events import Event, Stopped
from hansa.client.heartbeat import Heart
from hansa.client.journal import Owner
from hansa.client.loop import Loop
from hansa.client.patience import Patience
from hansa.client.predictions import Inputs, Prediction
from hansa.client.remedy import for_lease
from hansa.client.reporting import Reporter, default_reporter
from hansa.client.state import StateFolder, default_folder
from hansa.client.stopping import StopFlag, Stopping
from hansa.client.trainer import Trainer
from hansa.client.transport import Transport
from hansa.client.work import Workbench, one_line
from hansa.protocol.inference import Method, Outputs


class Client:
    """One participant. `run` it; from another thread, `stop` it.

    `state` is the folder for what a restart must not lose (default: one per server and token below
    ~/.local/state/hansa); `ca` a private authority's certificate; `reporter` is called with every event
    (`hansa.client.events`), the default shows them on stdout; `wait` is how many seconds the server may let each
    request for work wait.

    Raises UsageError for a URL, token or file that cannot work.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        state: Path | None = None,
        ca: Path | None = None,
        reporter: Reporter | None = None,
        wait: float = 60.0,
    ) -> None:
        self._transport = Transport(url, token, ca=ca)
        self._state = Path(state) if state is not None else default_folder(url, token)
        self._reporter = reporter
        self._wait = wait
        self._stopping = StopFlag()
        self._workbench: Workbench | None = None

    def run(self, trainer: Trainer, *, stop_when: Callable[[Event], bool] | None = None) -> None:
        """Work for the server until stopped: by `stop`, by `stop_when` being true of an event, by SIGINT or SIGTERM.

        Stopping gives the task at hand back and returns at once, in the middle of a training too if a signal caused
        it in the main thread. A result that was computed and not yet delivered is kept, and delivered after the next
        start. A second signal ends the process hard. `stop` from another thread cannot break into
        the trainer: it waits until that returns, which may look at `config.cancelled()`.

        Raises CredentialsRefused when the token is not (or no longer) known, UsageError when the state folder is in
        use or the trainer has no `train`, and ApiError or BadAnswer if the URL is not that of a Hansa server for
        clients. Whatever else happens to the network or the server, it waits and goes on.
        """
        if not callable(getattr(trainer, "train", None)):
            raise UsageError(
                f"the trainer is of type {type(trainer).__name__}, without a method `train`; see hansa.client.Trainer"
            )
        if self._workbench is not None:
            raise UsageError("this client has run; a Client runs once. Make another one.")
        self._workbench = Workbench(trainer)
        report = self._reporting(stop_when)
        try:
            self._run(self._workbench, report)
        except Stopping:
            report(Stopped("the client was stopped"))
        except BaseException as error:  # whatever ends the run, a reporter is told, and may tidy up its terminal
            report(Stopped(str(error) if isinstance(error, HansaError) else one_line(error)))
            raise

    def _run(self, workbench: Workbench, report: Callable[[Event], None]) -> None:
        rng = Random()  # noqa: S311 - spreads retries in time; nothing secret depends on it
        with ExitStack() as stack:
            folder = stack.enter_context(StateFolder(self._state))
            stack.enter_context(self._transport)
            heart = Heart(self._transport.again, rng)
            stack.callback(heart.close)
            patience = Patience(rng, self._stopping, report)
            with signals.caught(self._on_signal):
                owner = self._owner(patience)
                Loop(self._transport, folder, owner, workbench, heart, patience, report, wait=self._wait).run()

    def _owner(self, patience: Patience) -> Owner:
        """Whose results the journal keeps and delivers. A server that is away is waited for, as it is for work."""
        me = patience.until_done(Api(self._transport).myself, remedy=partial(for_lease, known=False))
        return Owner(self._transport.url, me.id)

    def stop(self) -> None:
        """End `run` as soon as possible; for good. From any thread."""
        self._stopping.set()
        self._transport.interrupt()

    def leave(self, training: str) -> None:
        """Take part in a training (`task.training`) no more; its rounds go on without this client, what it reported
        stays. Other trainings go on. From any thread, also while `run` runs.

        Raises what `hansa.client.errors` lists.
        """
        with self._transport.again() as transport:
            Api(transport).leave(training)

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        method: Method | None = None,
        passes: int | None = None,
        outputs: Outputs | None = None,
        level: float | None = None,
        seed: int = 0,
    ) -> Prediction:
        """Ask a model, as `Api.predict` does. From any thread, also while `run` runs."""
        with self._transport.again() as transport:
            return Api(transport).predict(
                model, inputs, version=version, method=method, passes=passes, outputs=outputs, level=level, seed=seed
            )

    def _on_signal(self) -> None:
        self.stop()
        if self._workbench is not None and self._workbench.inside:
            raise Stopping

    def _reporting(self, stop_when: Callable[[Event], bool] | None) -> Callable[[Event], None]:
        reporter = self._reporter or default_reporter()

        def report(event: Event) -> None:
            reporter(event)
            if stop_when is not None and stop_when(event):
                self._stopping.set()

        return report
