"""The server as a process: it says in one line why it cannot start, serves, and ends at once when asked."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from support.databases import on_postgresql, only_sqlite
from support.serving import PASSWORD, create_superuser, environment, free_port, furnish, refusal, serving
from support.work import file_of

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "home"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def tls(authority, tmp_path_factory):
    """A certificate for 127.0.0.1 with its key, and the key of another one."""
    folder = tmp_path_factory.mktemp("tls")
    issued, other = authority.issue_cert("127.0.0.1", "localhost"), authority.issue_cert("example.org")
    paths = {name: folder / f"{name}.pem" for name in ("cert", "key", "other_key")}
    issued.cert_chain_pems[0].write_to_path(paths["cert"])
    issued.private_key_pem.write_to_path(paths["key"])
    other.private_key_pem.write_to_path(paths["other_key"])
    return paths


class TestRefusesToStart:
    """Always one line that names what is wrong and what to do."""

    def test_on_a_port_that_is_in_use(self, folder):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            said = refusal(folder, port=port)

        assert f"Port {port} on 127.0.0.1 cannot be used: Address already in use" in said
        assert "--port" in said

    @pytest.mark.parametrize("port", [-1, 65536])
    def test_on_a_port_that_is_none(self, folder, port):
        assert f"{port} is not a port" in refusal(folder, port=port)

    def test_on_an_address_that_is_not_this_machines(self, folder):
        said = refusal(folder, host="192.0.2.1", insecure=True)

        assert "192.0.2.1 cannot be used" in said

    def test_on_a_name_that_is_not_known(self, folder):
        assert "no address 'nowhere.invalid'" in refusal(folder, host="nowhere.invalid", insecure=True)

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])  # noqa: S104  # that is the point
    def test_where_others_could_read_along(self, folder, host):
        said = refusal(folder, host=host)

        assert f"{host} can be reached from other machines" in said
        for way_out in ("--tls-cert", "HANSA_TRUSTED_PROXY=1", "--insecure"):
            assert way_out in said
        assert not folder.exists(), "before anything is made"

    def test_with_a_certificate_and_no_key(self, folder, tls):
        assert "go together" in refusal(folder, tls_cert=tls["cert"])
        assert "go together" in refusal(folder, tls_key=tls["key"])

    def test_with_tls_files_that_are_not_there(self, folder, tls, tmp_path):
        said = refusal(folder, tls_cert=tls["cert"], tls_key=tmp_path / "missing.pem")

        assert "missing.pem cannot be read" in said

    def test_with_a_key_that_belongs_to_another_certificate(self, folder, tls):
        said = refusal(folder, tls_cert=tls["cert"], tls_key=tls["other_key"])

        assert "no certificate with its key" in said
        assert "belong together" in said

    def test_with_tls_files_that_are_no_pem(self, folder, tls, tmp_path):
        garbage = tmp_path / "garbage.pem"
        garbage.write_bytes(os.urandom(500))

        assert "no certificate with its key" in refusal(folder, tls_cert=garbage, tls_key=tls["key"])

    def test_with_a_key_that_has_a_passphrase(self, folder, tls, tmp_path):
        key = serialization.load_pem_private_key(tls["key"].read_bytes(), None)
        locked = tmp_path / "locked.pem"
        locked.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )

        assert "without a passphrase" in refusal(folder, tls_cert=tls["cert"], tls_key=locked)

    @pytest.mark.parametrize("setting", [{"HANSA_LOG_LEVEL": "LOUD"}, {"HANSA_PORT": "80"}, {"HANSA_DEBUG": "maybe"}])
    def test_with_a_setting_that_cannot_be_used(self, folder, setting):
        (name,) = setting

        assert name in refusal(folder, setting)

    def test_with_a_home_that_is_a_file(self, folder):
        folder.write_text("not a folder")

        assert "is not a folder" in refusal(folder)

    @only_sqlite
    def test_with_a_database_that_is_damaged(self, folder):
        folder.mkdir()
        (folder / "hansa.sqlite3").write_bytes(os.urandom(8192))

        said = refusal(folder)

        assert "database cannot be opened" in said
        assert "backup" in said

    def test_on_a_home_that_another_server_serves(self, live, live_home):
        said = refusal(live_home)

        assert f"Another server (process {live.process.pid}) already serves {live_home}" in said


def test_the_one_process_answers(live, live_home):
    with live.client() as client:
        assert client.get("/api/health/").json()["pid"] == live.process.pid
    assert (live_home / "hansa.sqlite3").exists() != on_postgresql()
    assert (live_home / "server.lock").read_text() == str(live.process.pid)


def test_a_commands_failure_is_its_exit_code(live_home):
    again = create_superuser(live_home)
    unknown = subprocess.run(
        [sys.executable, "-c", "from hansa.server.process import manage\nraise SystemExit(manage(['fly']))"],
        env=environment(live_home),
        capture_output=True,
        text=True,
        check=False,
    )

    assert again.returncode == 1
    assert "already taken" in again.stderr
    assert unknown.returncode == 1
    assert "'fly'" in unknown.stderr


def test_it_ends_at_once_when_asked_and_answers_who_waits(folder):
    furnish(folder)
    with serving(folder) as server, server.client() as root, server.client() as dave:
        sign_in(root)
        code = root.post("/api/clients/invitations/", json={"username": "dave"}).json()["code"]
        dave.headers["Authorization"] = (
            "Token " + dave.post("/api/clients/enroll/", json={"code": code}).json()["token"]
        )
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(dave.post, "/api/tasks/next/?wait=20", json={"instance": "a"})
            while root.get("/api/clients/").json()[0]["last_seen"] is None:
                assert not asking.done()
            assert server.stop() == 0
            assert asking.result().status_code == 204


def sign_in(client):
    token = client.post("/api/tokens/", auth=("root", PASSWORD)).json()["token"]
    client.headers["Authorization"] = f"Token {token}"


def test_killed_it_starts_again_on_the_same_port_at_once(folder):
    assert not folder.exists(), "the first start makes the folder and all tables"
    port = free_port()
    for end in (signal.SIGKILL, signal.SIGTERM):
        with serving(folder, port=port) as server, server.client() as client:
            assert client.get("/api/health/").json()["pid"] == server.process.pid
            server.process.send_signal(end)
            server.process.wait(timeout=20)


def test_an_upload_that_breaks_off_on_the_wire_goes_on_where_it_ended(live, live_token):
    with live.client(Authorization=f"Token {live_token}") as root, live.client() as dave:
        code = root.post("/api/clients/invitations/", json={"username": "dave"}).json()["code"]
        token = dave.post("/api/clients/enroll/", json={"code": code}).json()["token"]
        dave.headers["Authorization"] = f"Token {token}"
        params = {"w": np.zeros(2**19, np.float32)}
        task = a_task_of(dave, root, file_of(params, frozenset()))
        file = file_of({"w": params["w"] + np.float32(1)}, frozenset())
        path = f"/api/tasks/{task}/update/{file.digest}/"

        with socket.create_connection(("127.0.0.1", live.port)) as line:
            request = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
            line.sendall(f"{request}Content-Length: {len(file)}\r\n\r\n".encode() + file.content[:1_234_567])
        while (held := int(dave.head(path).headers["Upload-Offset"])) < 1_234_567:
            pass
        headers = {"Upload-Offset": str(held), "Upload-Length": str(len(file))}
        rest = dave.put(path, content=file.content[held:], headers=headers)

    assert held == 1_234_567
    assert rest.json() == {"digest": file.digest, "size": len(file)}


def a_task_of(client, root, file):
    """The id of a task, leased by the only client of a new training."""
    model = root.post("/api/models/", data={"name": "m"}, files={"model_file": ("m", file.content)}).json()["model_id"]
    body = {"model_id": model, "plan": {"rounds": 1}, "clients": ["dave"]}
    training = root.post("/api/trainings/", json=body).json()["training_id"]
    assert root.post(f"/api/trainings/{training}/start/").status_code == 202
    return client.post("/api/tasks/next/?wait=20", json={"instance": "laptop"}).json()["id"]


def test_a_file_that_cannot_grow_is_a_full_disk(folder):
    """By a limit of the kernel that needs no rights: the write of the next byte fails as on a full disk."""
    furnish(folder)
    large = file_of({"w": np.zeros(2**20, np.float32)}, frozenset())
    small = file_of({"w": np.zeros(2**10, np.float32)}, frozenset())
    with serving(folder, largest_file=3 * 2**20) as server, server.client() as client:
        sign_in(client)
        full, fits = (
            client.post("/api/models/", data={"name": "m"}, files={"model_file": ("m", file.content)})
            for file in (large, small)
        )

        assert (full.status_code, full.json()["code"]) == (507, "insufficient_storage")
        assert fits.status_code == 201
        assert list((folder / "tmp").iterdir()) == []
        assert len(list((folder / "blobs").glob("*/*/*"))) == 1
