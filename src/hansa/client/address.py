"""Where a server is, and whom to trust on the way: checked before the first connection is made."""

import hashlib
import re
import ssl
import warnings
from ipaddress import ip_address
from pathlib import Path

import httpx

from hansa.client.errors import UsageError


class UnencryptedWarning(UserWarning):
    """The credentials travel unencrypted to another machine."""


def checked_url(url: str) -> httpx.URL:
    """A server's address, with or without a path below which Hansa lives. UsageError if it cannot be one."""
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UsageError(
            f"{url!r} is not a URL ({error}); wanted is something like https://hansa.example.org"
        ) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(f"{url!r} is not the address of a server; wanted is something like https://hansa.example.org")
    if parsed.userinfo:
        raise UsageError("the server's URL holds a user name or password. Leave them out, and pass a token instead.")
    if parsed.query or parsed.fragment:
        raise UsageError(f"{url!r} has a query or a fragment; wanted is the server's address alone.")
    return parsed.copy_with(path=parsed.path.rstrip("/") or "/")


def warn_if_readable(url: httpx.URL) -> None:
    """Warn whoever makes a Transport with credentials for a server that they reach unencrypted."""
    if url.scheme == "http" and not is_loopback(url.host):
        warnings.warn(
            f"the credentials for {url.host} travel unencrypted: anybody on the way can read and use them. "
            "Use https (hansa serve --tls-cert, --tls-key).",
            UnencryptedWarning,
            stacklevel=3,
        )


def checked_token(token: str) -> str:
    """The token without the white space of its file. UsageError if it cannot stand in a header."""
    stripped = token.strip()
    if not stripped or not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        # The text is not repeated here: what was meant to be a token may be another secret.
        raise UsageError(
            f"the token has {len(stripped)} characters that cannot all stand in a header; wanted is one word, 40 hex "
            "digits as `hansa enroll` or `hansa tokens create` printed them. Was the right file read?"
        )
    return stripped


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as far as its name tells."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def folder_name(url: str, caller: str) -> str:
    """A name for the folder of one caller at one server. It tells people the server; the hash tells callers apart, and
    nothing of who they are.
    """
    address = httpx.URL(url)
    server = re.sub(r"[^a-zA-Z0-9.-]", "_", address.host) + (f"_{address.port}" if address.port else "")
    distinct = hashlib.sha256(f"{url.rstrip('/')}\n{caller}".encode()).hexdigest()[:12]
    return f"{server}-{distinct}"


def trust(url: httpx.URL, ca: Path | None) -> ssl.SSLContext:
    """The authorities whose certificates count: the public ones, or `ca` alone. UsageError if it cannot be read."""
    if url.scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; to load public authorities takes 10 ms
    if ca is None:
        return httpx.create_ssl_context()
    try:
        return ssl.create_default_context(cafile=str(ca))
    except FileNotFoundError as error:
        raise UsageError(f"the authority's certificate {ca} does not exist") from error
    except (ssl.SSLError, OSError) as error:
        raise UsageError(f"the authority's certificate {ca} cannot be read as PEM ({error})") from error
