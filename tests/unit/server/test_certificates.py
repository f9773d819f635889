"""The server's certificate as its clients see it, as `hansa doctor` tells of it, and as /readyz does."""

import os
import socket
import ssl
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from hansa.server import certificates
from hansa.server.certificates import CertificateError, Validity, validity
from hansa.server.doctor.certificate import certificate
from hansa.server.doctor.finding import Level
from hansa.server.doctor.surroundings import Running
from hansa.server.ops import readiness

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def issue(authority, tmp_path):
    """A certificate that ends in so many days, and its key, as files."""

    def issue(days: float, name: str = "server") -> tuple[Path, Path]:
        began, end = NOW - timedelta(days=100), NOW + timedelta(days=days)
        issued = authority.issue_cert("127.0.0.1", not_before=began, not_after=end)
        cert, key = tmp_path / f"{name}.pem", tmp_path / f"{name}-key.pem"
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        key.chmod(0o600)
        return cert, key

    return issue


def test_until_when_it_is_valid(issue):
    assert validity(*issue(90)) == Validity(NOW + timedelta(days=90))


def test_an_expired_one_is_refused(issue):
    assert validity(*issue(-1)) == Validity(None, "it has expired")


def test_a_key_of_another_one(issue):
    with pytest.raises(CertificateError, match="belong together"):
        validity(issue(9, "one")[0], issue(9, "two")[1])


@pytest.mark.parametrize("missing", [0, 1])
def test_a_file_that_is_not_there_is_named(issue, missing):
    files = issue(9)
    files[missing].unlink()
    with pytest.raises(CertificateError, match=f"{files[missing].name} cannot be read"):
        validity(*files)


def test_what_is_no_certificate(issue):
    cert, key = issue(9)
    cert.write_text("no PEM")
    with pytest.raises(CertificateError, match="no certificate with its key"):
        validity(cert, key)


# The doctor


@pytest.fixture
def shown_by():
    """A server that shows a certificate to whoever comes."""
    ends = []

    def show(cert: Path, key: Path) -> int:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        listener = socket.create_server(("127.0.0.1", 0))

        def answer() -> None:
            with suppress(OSError):  # the end of the test, or of who asked
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as shown:
                    shown.recv(1)

        thread = threading.Thread(target=answer)
        thread.start()
        ends.append((listener, thread))
        return listener.getsockname()[1]

    yield show
    for listener, thread in ends:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def diagnosed(files, shown_by, *, shown=None):
    """What the doctor says of a server with these files, which shows these, or others."""
    port = shown_by(*(shown or files))
    arguments = ["hansa", "serve", f"--port={port}", "--tls-cert", str(files[0]), "--tls-key", str(files[1])]
    found = list(certificate(Running(os.getpid(), {}, arguments), NOW))
    assert all(each.wanted and each.do for each in found if each.level is not Level.OK)
    return [(each.level.value, each.seen) for each in found]


def test_a_certificate_that_is_well(issue, shown_by):
    ((level, seen),) = diagnosed(issue(90), shown_by)
    assert (level, f"{NOW + timedelta(days=90):%Y-%m-%d}" in seen) == ("ok", True)


def test_a_certificate_that_ends_in_less_than_two_weeks(issue, shown_by):
    ((level, seen),) = diagnosed(issue(13.5), shown_by)
    assert (level, seen.endswith("expires in 13 days")) == ("warning", True)


def test_a_certificate_that_has_expired(issue, shown_by):
    ((level, seen),) = diagnosed(issue(-1), shown_by)
    assert (level, "it has expired" in seen) == ("error", True)


def test_a_key_that_others_may_read(issue, shown_by):
    files = issue(90)
    files[1].chmod(0o644)
    _, (level, seen) = diagnosed(files, shown_by)
    assert (level, seen.endswith("has mode 0644: others may read it")) == ("error", True)


def test_a_renewed_certificate_that_the_server_does_not_show_yet(issue, shown_by):
    old, new = issue(2, "old"), issue(90, "new")
    _, (level, seen) = diagnosed(new, shown_by, shown=old)
    assert (level, "shows another one" in seen) == ("warning", True)


def test_files_with_which_the_server_would_not_start_again(issue):
    cert, _ = issue(90)
    running = Running(os.getpid(), {}, ["hansa", "--tls-cert", str(cert), "--tls-key", "/nowhere/key.pem"])
    (found,) = certificate(running, NOW)
    assert (found.level, "/nowhere/key.pem cannot be read" in found.seen) == (Level.ERROR, True)


@pytest.mark.parametrize("running", [None, Running(os.getpid(), {}, ["hansa", "serve"])])
def test_without_tls_there_is_nothing_to_say(running):
    assert list(certificate(running, NOW)) == []


# /readyz


@pytest.mark.parametrize(
    ("days", "ok", "seen"),
    [(90.5, True, "is valid for 90 days"), (9.5, True, "it expires in 9 days"), (-1, False, "clients refuse it")],
)
async def test_readiness_tells_of_the_certificate_that_is_shown(issue, monkeypatch, days, ok, seen):
    monkeypatch.setattr(certificates, "_served", None)
    certificates.serve(*issue(days))
    found = readiness._certificate(certificates.served().left(datetime.now(UTC)))
    assert (found.ok, seen in found.precisely) == (ok, True)
    assert bool(found.do) == (days < 14)
