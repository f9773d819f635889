"""`hansa demo --fill` against a real server: everything that a page shows is there afterwards."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hansa.client.api import Api
from hansa.client.transport import Transport
from hansa.protocol.events import EventKind, EventPage
from hansa.rounds.states import TrainingStatus
from hansa.simulation.demo import perceptron, shapes
from support.serving import environment, serving

HANSA = str(Path(sys.executable).with_name("hansa"))
MAKE_ROOT = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "hansa.server.settings"
from hansa.server.process import manage
manage(["migrate", "--verbosity", "0"])
from django.utils import timezone
from hansa.server.accounts.models import User
from hansa.server.accounts.services import create_token
root = User.objects.create_superuser("root")
print(create_token(user_id=root.id, name="test", expires_in_seconds=None, now=timezone.now()).text)
"""


@pytest.fixture
def token(tmp_path):
    made = subprocess.run(
        [sys.executable, "-c", MAKE_ROOT],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def test_a_server_is_filled_with_trainings_a_failing_client_a_refusal_and_models_to_ask(tmp_path, token):
    file = tmp_path / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    with serving(tmp_path / "home") as server:
        command = [HANSA, "demo", "--fill", "--server", server.url, "--token-file", str(file)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert told.returncode == 0, told.stderr
        with Transport(server.url, token) as transport:
            api = Api(transport)
            by_name = {each.name: each for each in api.trainings()}
            assert {name: each.status for name, each in by_name.items()} == {
                "shapes": TrainingStatus.COMPLETED,
                "shapes, five sites": TrainingStatus.COMPLETED,
                "shapes, at night": TrainingStatus.PAUSED,
                "shapes, next year": TrainingStatus.INITIAL,
            }
            wider = api.training(by_name["shapes, five sites"].id)
            assert [each.username for each in wider.clients if each.excluded] == ["demo-visby"]
            images, kinds = shapes.dealt(40, np.full(4, 0.25), np.random.default_rng(9))
            sets = api.predict(wider.model, 255 * images.astype(np.float32), level=0.9).reckoned.conformal.sets
            assert sum(kind in held for kind, held in zip(kinds, sets, strict=True)) >= 30, "36 are to be expected"
            first, *_, last = api.metrics(by_name["shapes"].id)
            assert last.evaluate["loss"].mean < first.evaluate["loss"].mean
            events = transport.call("GET", f"/api/trainings/{by_name['shapes'].id}/events/", into=EventPage)
            refused = [each for each in events.events if each.kind == EventKind.TASK_REFUSED]
            names = {each.id: each.username for each in api.users()}
            assert [names[each.client] for each in refused] == ["demo-bremen"]
            assert f"/models/{by_name['shapes'].model}/ask/" in told.stdout
            assert {"mean", "global"} == {each.kind for each in api.models()}


def test_the_demos_clients_learn_what_their_drawings_are():
    rng = np.random.default_rng(7)
    images, kinds = shapes.dealt(600, np.full(4, 0.25), rng)
    params = {
        perceptron.FIRST: rng.uniform(-0.08, 0.08, (perceptron.HIDDEN, shapes.SIDE**2)),
        perceptron.FIRST_BIAS: np.zeros(perceptron.HIDDEN),
        perceptron.LAST: rng.uniform(-0.14, 0.14, (4, perceptron.HIDDEN)),
        perceptron.LAST_BIAS: np.zeros(4),
    }

    for _ in range(20):
        params = perceptron.trained(params, images, kinds, lr=0.12, rng=rng)

    assert perceptron.measured(params, *shapes.dealt(300, np.full(4, 0.25), rng))["accuracy"] > 0.8
