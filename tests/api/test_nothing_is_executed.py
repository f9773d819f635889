"""Nothing that is uploaded is ever run: at every endpoint that takes a file, for every file that runs when opened.

The endpoints are read from the API's own description, so that a new one without a case fails here.
"""

import hashlib
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from drf_spectacular.generators import SchemaGenerator

from hansa.server.lifecycle.bridge import call
from support.audit import Audit
from support.harm import KINDS, VECTOR, Harm
from support.older import pickled
from support.serving import PASSWORD, environment, furnish, serving
from support.work import add_up, lease, settle, start, update, upload_and_report

MODELS = "POST /api/models/"
UPDATE = "POST /api/models/{model_id}/"
PREPROCESSING = "POST /api/models/{model_id}/preprocessing/"
MOMENTS = "POST /api/models/{model_id}/swag/"
PARAMS = "PUT /api/tasks/{task_id}/update/{digest}/"

NAMED = {"name": "net", "description": ""}
RIGHT = pickled(torch.ones(VECTOR))
FORMS = {
    (MODELS, "model_file"): (NAMED, {}),
    (MODELS, "model_preprocessing_file"): (NAMED, {"model_file": update().content}),
    (PREPROCESSING, "model_preprocessing_file"): ({}, {}),
    (UPDATE, "model_file"): ({"round": "0", "sample_size": "10"}, {}),
    (MOMENTS, "first_moment_file"): ({"round": "1", "sample_size": "10"}, {"second_moment_file": RIGHT}),
    (MOMENTS, "second_moment_file"): ({"round": "1", "sample_size": "10"}, {"first_moment_file": RIGHT}),
}
"""For each file in a form: the other fields, and the other files that there must be."""
WHERE = [*FORMS, (PARAMS, "")]
TAKEN = {
    (MODELS, "model_file"): {"module"},
    (MODELS, "model_preprocessing_file"): {"module", "script"},
    (PREPROCESSING, "model_preprocessing_file"): {"module", "script"},
    (UPDATE, "model_file"): {"module"},
    (MOMENTS, "first_moment_file"): {"tensor"},
    (MOMENTS, "second_moment_file"): {"tensor"},
}
"""What counts, as numbers or as a module that is passed on: what hangs on it is not looked at. The rest is refused."""


def takers_of_files():
    """Every operation that takes a file, with the field of its form; a body that is the file has none."""
    for path, item in SchemaGenerator().get_schema(request=None, public=True)["paths"].items():
        for method, operation in item.items():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                for name, field in {"": body["schema"], **body["schema"].get("properties", {})}.items():
                    if field.get("format") == "binary":
                        yield f"{method.upper()} {path}", name


def test_every_endpoint_that_takes_a_file_has_its_case():
    assert set(takers_of_files()) == set(WHERE)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_what_must_not_run_would_run_if_it_were_opened(kind, tmp_path):
    target = tmp_path / "written"
    content = kind.made(target)
    assert not target.exists()

    kind.opened_unsafely(content)

    assert target.exists()


@dataclass(frozen=True)
class Place:
    """Where the caller may send files."""

    model: str
    """In its first round."""
    task: str
    """The caller's, leased, of that round."""
    swag: str
    """The model whose first version moments are asked for."""

    def request(self, operation, field, content):
        """The arguments of a request with these bytes as that file, right in everything else."""
        method, path = operation.split()
        model = self.swag if operation == MOMENTS else self.model
        url = path.format(model_id=model, task_id=self.task, digest=hashlib.sha256(content).hexdigest())
        if not field:
            return {"method": method, "url": url, "content": content}
        data, files = FORMS[operation, field]
        return {"method": method, "url": url, "data": data, "files": {**files, field: content}}


def counts(case):
    where, name = case
    return name in TAKEN.get(where, ())


CASES = sorted(((where, name) for where in WHERE for name in KINDS), key=counts)
"""Those last that count: of an update and of moments the first counts, and nothing else is looked at after it."""


def check(where, name, answer, *, taken=(201, 202)):
    if counts((where, name)):
        assert answer.status_code in taken, (name, answer.text)
    else:
        assert answer.status_code in (400, 422), (name, answer.text)
        assert answer.json()["code"] in ("bad_model_file", "spec_mismatch"), (name, answer.text)


@pytest.fixture
async def place(alice, make_training):
    """Alice owns, acts and takes part herself: there is nothing that she may not send."""
    plain = await call(lambda: start(make_training(alice)))
    task = await call(lease, alice)
    swag = await call(lambda: start(make_training(alice, uncertainty={"method": "swag"})))
    await upload_and_report(alice, await call(lease, alice, "another"), update())
    await call(settle, swag)
    await call(add_up, swag)
    return Place(model=str(plain.model_id), task=str(task.id), swag=str(swag.model_id))


@pytest.mark.parametrize("where", WHERE, ids=" ".join)
async def test_it_is_refused_or_counts_as_numbers_and_does_nothing(alice, place, tmp_path, where):
    for name in (name for each, name in CASES if each == where):
        target = tmp_path / name
        answer = await alice.request(**place.request(*where, KINDS[name].made(target)))

        check(where, name, answer)
        assert not target.exists(), name


# A server of its own


def processes_of(server):
    process = psutil.Process(server.process.pid)
    return [process, *process.children(recursive=True)]


def maps_torch(process):
    return "libtorch" in Path(f"/proc/{process.pid}/maps").read_text()


def task_of(client, instance):
    answer = client.post("/api/tasks/next/?wait=30", json={"instance": instance})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def place_on(client, model_file):
    """The same place, of a model that was made from this file."""

    def training(**plan):
        made = client.post("/api/models/", data=NAMED, files={"model_file": model_file})
        assert made.status_code == 201, made.text
        model, me = made.json()["model_id"], client.get("/api/users/myself/").json()["id"]
        body = {"model_id": model, "plan": {"rounds": 1, "evaluation": {"every": 0}, **plan}, "clients": [me]}
        started = client.post("/api/trainings/", json=body).json()["training_id"]
        assert client.post(f"/api/trainings/{started}/start/").status_code == 202
        return started, model

    plain, model = training()
    task = task_of(client, "one")
    _, swag = training(uncertainty={"method": "swag"})
    file, trains = update(), task_of(client, "another")
    assert client.put(f"/api/tasks/{trains}/update/{file.digest}/", content=file.content).status_code == 200
    report = {"num_examples": 10, "digest": file.digest}
    assert client.post(f"/api/tasks/{trains}/report/", json=report).status_code == 200
    task_of(client, "another")  # the moments
    return plain, Place(model=model, task=task, swag=swag)


def see_it_through(client, training, place):
    """Wait for the version, and have it rendered into the archive that the model was made from."""
    record = client.get(f"/api/trainings/{training}/").json()
    while record["status"] != "completed":
        record = client.get(f"/api/trainings/{training}/?wait=20&revision={record['revision']}").json()
    for rest in ("", "metadata/", "preprocessing/", "versions/1/params/"):
        assert client.get(f"/api/models/{place.model}/{rest}").status_code == 200, rest


def test_a_server_that_was_sent_all_of_it_has_run_nothing_loaded_no_torch_and_written_nothing_beside_its_home(
    tmp_path, monkeypatch
):
    home, target = tmp_path / "home", tmp_path / "written"
    furnish(home)
    audit = Audit(tmp_path, kept=home)
    monkeypatch.chdir(audit.nowhere)
    settings = {**audit.settings, "HANSA_INFERENCE_PROCESSES": "0"}  # no sandbox, whose processes are torch's place
    with serving(home, settings=settings) as server, server.client() as client:
        token = client.post("/api/tokens/", auth=("root", PASSWORD), json={"name": "t"}).json()["token"]
        client.headers["Authorization"] = f"Token {token}"
        audit.forget()
        training, place = place_on(client, KINDS["module"].made(target))
        for where, name in CASES:
            answer = client.request(**place.request(*where, KINDS[name].made(target)))
            check(where, name, answer, taken=(201, 202, 409))  # the second moment comes when moments have counted
        see_it_through(client, training, place)

        assert not any(map(maps_torch, processes_of(server)))
        assert maps_torch(psutil.Process()), "who has loaded it is known by it"
    assert audit.told() == []
    assert [*audit.nowhere.iterdir(), *(tmp_path / "tmp").iterdir()] == []
    assert not target.exists()


def test_the_audit_would_have_told(tmp_path):
    audit, target = Audit(tmp_path, kept=tmp_path / "home"), tmp_path / "written"
    program = f"import pickle; pickle.loads({pickle.dumps(Harm(target))!r})"

    subprocess.run([sys.executable, "-c", program], env=environment(tmp_path, audit.settings), check=True)

    assert target.exists()
    assert [line.split()[0] for line in audit.told()] == ["pickle.find_class", "open"]
