"""A second machine over TLS with a private authority: what `--ca` is for."""

import shlex

import pytest
import trustme

from support.databases import settings_of
from system.processes import PASSWORD, Server, end, eventually


@pytest.fixture
def tls_server(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(tmp_path / "cert.pem", append=True)
    options = ("--tls-cert", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem"))
    server = Server(tmp_path / "home", options=options, ca=tmp_path / "ca.pem")
    server.start()
    yield server
    end(server.process)


def test_a_private_authority_is_trusted_where_it_is_named_and_nowhere_else(people, tls_server):
    alice, anna = people("alice"), people("anna")
    user = {"DJANGO_SUPERUSER_USERNAME": "root", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    home = str(tls_server.home)
    alice.done(
        "createsuperuser",
        "--noinput",
        "--email",
        "root@example.org",
        HANSA_HOME=home,
        **settings_of(tls_server.home),
        **user,
    )
    login = ("login", "--server", tls_server.url, "--username", "root")
    refused = alice.hansa(*login, typed=PASSWORD)
    assert refused.returncode != 0
    assert "--ca" in refused.stderr
    assert "Traceback" not in refused.stderr

    alice.done(*login, "--ca", str(tls_server.ca), typed=PASSWORD)
    assert alice.done("models", "list")
    _hansa, *line = shlex.split(alice.done("clients", "invite", "anna"))
    ca = ("--ca", str(tls_server.ca))
    _hansa, *run = shlex.split(anna.done(*line, *ca))
    assert tuple(run[-2:]) == ca
    anna.begin(*run)

    def seen():
        return alice.json("clients", "list")[0]["last_seen"]

    eventually(seen, "the client asks for work")
