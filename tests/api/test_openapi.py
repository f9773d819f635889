"""The API's own description is complete, and the server keeps to it whatever it is sent."""

import os
import re
import subprocess
import sys

import pytest
from drf_spectacular.generators import SchemaGenerator

from support.serving import environment
from support.work import file_of, small_params

CHECKS = [
    "not_a_server_error",
    "content_type_conformance",
    "response_schema_conformance",
    "status_code_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
]


@pytest.fixture(scope="module")
def document():
    return SchemaGenerator().get_schema(request=None, public=True)


def operations(document):
    return [(method, path, each) for path, item in document["paths"].items() for method, each in item.items()]


def test_it_is_generated_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "django", "spectacular", "--validate", "--fail-on-warn", "--file", tmp_path / "api.yml"],
        env={**environment(tmp_path / "home"), "DJANGO_SETTINGS_MODULE": "hansa.server.settings"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_every_operation_has_a_name_of_its_own_and_says_what_it_does(document):
    names = [each["operationId"] for _, _, each in operations(document)]

    assert len(set(names)) == len(names)
    assert all(each["description"] for _, _, each in operations(document))


def test_every_operation_answers_with_a_message_and_refuses_in_one_way(document):
    for method, path, each in operations(document):
        assert any(status.startswith("2") for status in each["responses"]), (method, path)
        assert "default" in each["responses"], (method, path)


def test_nothing_is_referred_to_that_is_not_described(document):
    referred = set(re.findall(r"#/components/schemas/(\w+)", str(document)))

    assert referred <= document["components"]["schemas"].keys()
    assert "Refusal" in referred


@pytest.fixture
def something_to_see(live, live_token):
    """A model and a training, so that more is met than what does not exist."""
    with live.client(Authorization=f"Token {live_token}") as root:
        form = {"data": {"name": "m"}, "files": {"model_file": ("m", file_of(small_params()).content)}}
        model = root.post("/api/models/", **form).json()["model_id"]
        body = {"model_id": model, "plan": {"rounds": 1}}
        training = root.post("/api/trainings/", json=body).json()["training_id"]
    return {"model_id": model, "training_id": training, "number": 0, "wait": 0}


CONFIG = """
[[operations]]
include-path-regex = "model_id"
exclude-method = "DELETE"
parameters = {{ model_id = "{model_id}", number = {number} }}

[[operations]]
include-path-regex = "training_id"
exclude-method = "DELETE"
parameters = {{ training_id = "{training_id}", wait = {wait} }}

[[operations]]
include-path = "/api/tasks/next/"
parameters = {{ wait = {wait} }}
"""


@pytest.mark.slow
def test_whatever_is_sent_the_answer_is_one_that_is_described(live, live_token, something_to_see, tmp_path):
    """Schemathesis, with a budget; a failure prints the requests that show it, and the seed."""
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG.format(**something_to_see))
    seed = os.environ.get("SCHEMATHESIS_SEED", str(int.from_bytes(os.urandom(4))))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", config, "run"),
            f"{live.url}/api/schema/?format=json",
            *("--header", f"Authorization: Token {live_token}"),
            # A token that revokes itself would end the test.
            *("--exclude-operation-id", "delete_token_detail"),
            *("--checks", ",".join(CHECKS), "--phases", "coverage,fuzzing", "--max-examples", "5"),
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
    assert live.process.poll() is None
