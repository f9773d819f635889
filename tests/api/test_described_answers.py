"""Whatever the API is sent, by whomever, it answers as its own document says: schemathesis, as each role.

It makes requests from the OpenAPI document: the borders of every field, what is nearly right, what is wrong, and
sequences that go on with what earlier answers told of. No answer may be a 5xx, have a status that the operation does
not name one by one, or differ from its schema.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from support import databases
from support.serving import PASSWORD, Serving, environment, furnish, serving
from support.work import file_of, small_params

CHECKS = [
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
]

ROLES = ("anonymous", "stranger", "participant", "actor", "owner", "staff")

CONFIG = """
[phases.stateful.generation]
max-examples = 40

[[operations]]
include-path-regex = "model_id"
exclude-method = "DELETE"
parameters = {{ model_id = "{model_id}", number = 0 }}

[[operations]]
include-path-regex = "training_id"
exclude-method = "DELETE"
exclude-operation-id = "get_training_events"
parameters = {{ training_id = "{training_id}", number = 1, wait = 0 }}

# A stream has no end: it is cut off.
[[operations]]
include-operation-id = "get_training_events"
parameters = {{ training_id = "{training_id}" }}
request-timeout = 5
max-stream-events = 3

[[operations]]
include-path-regex = "user_id"
parameters = {{ user_id = "{user_id}" }}

[[operations]]
include-path = "/api/tasks/next/"
parameters = {{ wait = 0 }}
"""
"""What exists, so that more is met than what does not. All parameters of a path are given: of a path that is half given
schemathesis would expect a refusal for what it meant to send in the place of the other half."""


class Federation:
    """A server with people in every role around one training."""

    def __init__(self, server: Serving, tokens: dict[str, str], ids: dict[str, str]) -> None:
        self.server = server
        self.tokens = tokens
        self.ids = ids


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    home = tmp_path_factory.mktemp("described") / "home"
    furnish(home)
    with serving(home) as server, server.client() as http:
        root = ("root", PASSWORD)
        people = {role: registered(http, role, root) for role in ROLES[1:-1]}
        tokens = {role: person["token"] for role, person in people.items()}
        tokens["staff"] = http.post("/api/tokens/", auth=root, json={"name": "tests"}).json()["token"]
        ids = with_a_training(http, tokens["actor"], people["participant"]["id"])
        hand_over(home, ids["model_id"], people["owner"]["id"])
        yield Federation(server, tokens, {**ids, "user_id": people["participant"]["id"]})


def registered(http: httpx.Client, role: str, root: tuple[str, str]) -> dict[str, str]:
    fields = {"username": role, "password": PASSWORD, "actor": role == "actor", "client": True}
    answer = http.post("/api/users/", auth=root, json=fields)
    assert answer.status_code == 201, answer.text
    record: dict[str, str] = answer.json()
    return record


def with_a_training(http: httpx.Client, token: str, participant: str) -> dict[str, str]:
    actor = {"Authorization": f"Token {token}"}
    form = {"data": {"name": "m", "description": ""}, "files": {"model_file": ("m", file_of(small_params()).content)}}
    model = http.post("/api/models/", headers=actor, **form).json()["model_id"]
    body = {"model_id": model, "plan": {"rounds": 9}, "clients": [participant]}
    training = http.post("/api/trainings/", headers=actor, json=body).json()["training_id"]
    assert http.post(f"/api/trainings/{training}/start/", headers=actor).status_code == 202
    return {"model_id": model, "training_id": training}


def hand_over(home: Path, model_id: str, owner_id: str) -> None:
    """Who acts on a model need not own it."""
    owner, model = UUID(owner_id).hex, UUID(model_id).hex
    assert databases.change(home, "UPDATE registry_model SET owner_id = ? WHERE id = ?", (owner, model)) == 1


def phases(role: str) -> str:
    """The borders of every field, which take longest, are the same for all: here two roles send them, and each in
    `make described`.
    """
    every = role in ("participant", "staff") or "SCHEMATHESIS_EXAMPLES" in os.environ
    return "coverage,fuzzing,stateful" if every else "fuzzing,stateful"


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
def test_whatever_a_role_sends_the_answer_is_one_that_is_described(role, federation, tmp_path):
    """With a budget; a failure prints the requests that show it, and the seed."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(**federation.ids))
    seed = os.environ.get("SCHEMATHESIS_SEED", str(int.from_bytes(os.urandom(4))))
    token = federation.tokens.get(role)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            f"{federation.server.url}/api/schema/?format=json",
            *(("--header", f"Authorization: Token {token}") if token else ()),
            # A token that revokes itself would end the test.
            *("--exclude-operation-id", "delete_token_detail"),
            *("--checks", ",".join(CHECKS), "--phases", phases(role)),
            *("--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "3")),
            *("--request-timeout", "20", "--seed", seed, "--no-color"),
        ],
        env=environment(tmp_path),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    print(f"SCHEMATHESIS_SEED={seed} repeats this run")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert federation.server.process.poll() is None
