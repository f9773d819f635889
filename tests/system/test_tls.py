"""TLS from end to end, with a private authority: who trusts it is served, who does not is told so."""

import ssl
from pathlib import Path

import httpx
import numpy as np
import pytest
import trustme

from hansa.client.errors import HansaError
from hansa.client.transport import Transport
from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from system.processes import ClientProcess, Server, end, serving


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A private authority, and a certificate of 127.0.0.1 with its key, as PEM files."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    ca, cert, key = (tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(ca))
    cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    return ca, cert, key


@pytest.mark.slow
def test_a_training_runs_over_tls_with_a_private_authority(
    certificates: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    ca, cert, key = certificates
    with serving(tmp_path / "server", "--tls-cert", str(cert), "--tls-key", str(key), ca=ca) as server:
        who_does_not_know_the_authority_is_not_served(server)
        answer = httpx.get(f"{server.url}/api/health/", verify=ssl.create_default_context(cafile=str(ca)))
        assert answer.headers["strict-transport-security"].startswith("max-age=")

        api = server.admin()
        first = tmp_path / "first.safetensors"
        with first.open("wb") as file:
            safetensors.write(file, {"w": np.zeros(4, np.float32)})
        model = api.create_model(first, name="tls").model_id
        token = api.enroll(api.invite("far-away", 3600.0).code).token
        room = {"CRASH_ROOM": str(tmp_path)}
        client = ClientProcess(server, tmp_path / "client", "crash_trainer:trainer", token, room)
        client.start()
        try:
            asked = TrainingCreate(model_id=model, plan={"rounds": 1}, clients=["far-away"])
            training = api.create_training(asked).training_id
            api.start(training)
            record = api.training(training)
            while record.status == "ongoing":
                record = api.training(training, wait=30, revision=record.revision)
            assert record.status == "completed", client.log()
        finally:
            end(client.process)


def who_does_not_know_the_authority_is_not_served(server: Server) -> None:
    with pytest.raises(HansaError, match="--ca"), Transport(server.url) as transport:
        transport.call("GET", "/api/health/", into=dict)
