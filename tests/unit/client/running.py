"""A client that runs in a thread until its test has seen enough, and the smallest trainer."""

import threading
from pathlib import Path

from scripted_server import TOKEN, ScriptedServer

from hansa.client import Client, TrainResult
from hansa.client.events import Event

PATIENCE = 20.0


class AddOne:
    """The smallest trainer; counts what it was asked."""

    def __init__(self):
        self.trained = 0
        self.evaluated = 0
        self.configs = []

    def train(self, params, config):
        self.trained += 1
        self.configs.append(config)
        params["w"] += 1
        return TrainResult(params, num_examples=10, metrics={"loss": 0.5})

    def evaluate(self, params, config):
        self.evaluated += 1
        return {"num_examples": 5, "loss": float(params["w"].sum())}


class Running:
    """A client in a thread, its events, and how it ended."""

    def __init__(self, server: ScriptedServer, state: Path, trainer, *, token: str = TOKEN):
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._changed = threading.Condition()
        self.client = Client(server.url, token, state=state, reporter=self._note, wait=5.0)
        self._thread = threading.Thread(target=self._run, args=(trainer,), daemon=True)
        self._thread.start()

    def _run(self, trainer):
        try:
            self.client.run(trainer)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.error = error
        finally:
            with self._changed:
                self._changed.notify_all()

    def _note(self, event: Event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def until(self, kind: type[Event], *, times: int = 1) -> Event:
        """Wait for the event, and return it."""
        with self._changed:
            seen = self._changed.wait_for(lambda: len(self.of(kind)) >= times or self.ended, PATIENCE)
        assert seen, f"no {kind.__name__} came, but {self.events}"
        assert len(self.of(kind)) >= times, f"the client ended with {self.error!r} after {self.events}"
        return self.of(kind)[times - 1]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> "Running":
        self._thread.join(PATIENCE)
        assert self.ended
        return self

    def stop(self) -> "Running":
        self.client.stop()
        return self.join()
