"""The certificate of a server that does TLS itself: whether it can be shown, until when, and who can read its key."""

import ssl
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from hansa.server import certificates
from hansa.server.certificates import RENEW_BEFORE, CertificateError
from hansa.server.doctor.finding import Finding, counted, error, warning, well
from hansa.server.doctor.surroundings import ANSWER_SECONDS, Running

RENEW = "renew it (docs/how-to/second-machine.md), then restart the server: it reads the file when it starts"


def certificate(found: Running | None, now: datetime) -> Iterator[Finding]:
    """Of the running server, as its arguments name it; nothing without one, or where another program does TLS."""
    files = found.certificate if found is not None else None
    if found is None or files is None:
        return
    cert, key = files
    try:
        seen = certificates.validity(cert, key)
    except CertificateError as problem:
        yield error(
            "certificate",
            str(problem),
            "a certificate and its key",
            "put the right files there: as it is, the server would not start again",
        )
        return
    left = seen.left(now)
    if seen.until is None:
        yield error("certificate", f"clients refuse {cert}: {seen.refusal}", "one that is valid", RENEW)
    elif left < RENEW_BEFORE:
        days = counted(left.days, "day")
        yield warning("certificate", f"{cert} expires in {days}", f"at least {RENEW_BEFORE.days} days", RENEW)
    else:
        yield well("certificate", f"{cert}, valid until {seen.until:%Y-%m-%d}")
    yield from _key(key)
    yield from _shown(found, cert)


def _key(key: Path) -> Iterator[Finding]:
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o077:
        yield error("certificate", f"{key} has mode {mode:04o}: others may read it", "mode 0600", f"chmod 0600 {key}")


def _shown(found: Running, cert: Path) -> Iterator[Finding]:
    """Whether the server shows the file as it is now."""
    address = urlsplit(found.url)
    try:
        shown = ssl.get_server_certificate((address.hostname or "", address.port or 0), timeout=ANSWER_SECONDS)
    except OSError:  # it does not answer, which is another finding
        return
    if ssl.PEM_cert_to_DER_cert(shown) != ssl.PEM_cert_to_DER_cert(_first(cert)):
        yield warning(
            "certificate",
            f"the running server shows another one than {cert}",
            "the one in the file",
            "restart the server: it reads the file when it starts; nothing that was acknowledged is lost",
        )


def _first(cert: Path) -> str:
    """The first certificate of a PEM file, without the text that may stand around it."""
    text = cert.read_text()
    return text[text.index(ssl.PEM_HEADER) : text.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)]
