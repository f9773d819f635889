"""The certificate that the server shows, looked at as a client would: by a handshake in memory, without a network."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

RENEW_BEFORE = timedelta(days=14)
_EXPIRED = 10
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""


class CertificateError(Exception):
    """The two files are no certificate with its key; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Validity:
    """What a client makes of a certificate, but for its name and who has signed it."""

    until: datetime | None
    """None: it is refused already."""
    refusal: str = ""
    """Why, in OpenSSL's words."""

    def left(self, now: datetime) -> timedelta:
        """How long it is valid; nothing or less if it is not."""
        return self.until - now if self.until is not None else timedelta()


def validity(cert: Path, key: Path) -> Validity:
    """Of the first certificate of a PEM file. Raises CertificateError if a server could not show it."""
    server = _server_side(cert, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever has signed it, it is the one that is meant
    client.load_verify_locations(cert)
    try:
        shown = _shaken_hands(client, server)
    except ssl.SSLCertVerificationError as error:
        return Validity(None, "it has expired" if error.verify_code == _EXPIRED else error.verify_message)
    return Validity(datetime.fromtimestamp(ssl.cert_time_to_seconds(str(shown["notAfter"])), UTC))


def _server_side(cert: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An empty passphrase, so that OpenSSL does not ask the terminal for one.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise CertificateError(
            f"{cert} and {key} are no certificate with its key ({error.reason or error}). Give two PEM files that "
            "belong together; the key without a passphrase."
        ) from error
    except OSError as error:
        unread = next((path for path in (cert, key) if not _is_readable(path)), cert)
        raise CertificateError(
            f"{unread} cannot be read ({error.strerror}). Give a PEM file that this user may read."
        ) from error
    return context


def _is_readable(path: Path) -> bool:
    try:
        path.open("rb").close()
    except OSError:
        return False
    return True


def _shaken_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> dict[str, object]:
    """What the client knows of the server's certificate then."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    showing = server.wrap_bio(to_server, to_client, server_side=True)
    for side in _in_turn(asking, showing):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:  # it is the other one's turn
            continue
        if side is asking:
            break
    return dict(asking.getpeercert() or {})


def _in_turn(*sides: ssl.SSLObject) -> Iterator[ssl.SSLObject]:
    while True:
        yield from sides


_served: Validity | None = None


def serve(cert: Path, key: Path) -> None:
    """Note which one this process shows from now on, whatever the files become later. Raises as `validity`."""
    global _served  # noqa: PLW0603  # one certificate per process, said once at its start
    _served = validity(cert, key)


def served() -> Validity | None:
    """The one that this process shows; None without TLS."""
    return _served
