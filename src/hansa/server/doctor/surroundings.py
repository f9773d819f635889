"""What a server is told and given by who starts it: its key, the names it answers to, limits, and its own process."""

import fcntl
import json
import resource
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from hansa.server import config as configs
from hansa.server.config import ANY_ORIGIN, LOOPBACK_HOSTS, Config, ConfigError, secret_key_file
from hansa.server.doctor.finding import Finding, error, warning, well
from hansa.server.home import LOCK

FILES = 4096
"""Open files, each waiting client being one."""
ANSWER_SECONDS = 3.0
SKEW_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """The process that serves the data folder, as far as this user may look at it."""

    pid: int
    environ: Mapping[str, str] | None
    """Its `HANSA_*` variables; None where this user may not see them."""
    arguments: Sequence[str]

    @property
    def config(self) -> Config | None:
        """Its settings; None where they cannot be read."""
        try:
            return configs.read({"HANSA_HOME": "", **self.environ}) if self.environ is not None else None
        except ConfigError:
            return None

    @property
    def url(self) -> str:
        """Where it listens."""
        host = self._option("--host", "127.0.0.1")
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # asked, not bound
        scheme = "https" if self._option("--tls-cert", "") else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self._option('--port', '8000')}"

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """Its certificate and the key, where it does TLS itself, and this user can know where they are."""
        cert, key = (Path(self._option(option, "")) for option in ("--tls-cert", "--tls-key"))
        if not (cert.name and key.name):
            return None
        cert, key = self.place(cert), self.place(key)
        return (cert, key) if cert.is_absolute() and key.is_absolute() else None

    def place(self, path: Path) -> Path:
        """A path as the server means it; a relative one stays relative where this user may not see its folder."""
        try:
            return Path(f"/proc/{self.pid}/cwd").readlink() / path
        except OSError:  # another user's process
            return path

    @property
    def name(self) -> str:
        """A name that it answers to."""
        names = self.config.allowed_hosts if self.config is not None else LOOPBACK_HOSTS
        return names[0].removeprefix(".").replace("*", "localhost")

    def _option(self, name: str, default: str) -> str:
        for argument, following in zip(self.arguments, [*self.arguments[1:], ""], strict=True):
            if argument == name:
                return following
            if argument.startswith(f"{name}="):
                return argument.partition("=")[2]
        return default


def running(home: Path) -> Running | None:
    """The server that holds the lock on the folder, if there is one."""
    try:
        with (home / LOCK).open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = int(lock.read().strip() or 0)
            else:
                return None
    except (OSError, ValueError):
        return None
    return Running(pid, _variables(pid), _of_process(pid, "cmdline") or [])


def _variables(pid: int) -> Mapping[str, str] | None:
    told = _of_process(pid, "environ")
    if told is None:
        return None
    pairs = (entry.partition("=") for entry in told)
    return {name: value for name, _, value in pairs if name.startswith("HANSA_")}


def _of_process(pid: int, what: str) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/{what}").read_text(errors="replace")
    except OSError:
        return None
    return [part for part in text.split("\0") if part]


def server(found: Running | None) -> Iterator[Finding]:
    """Whether the server answers, and what its clock says."""
    if found is None:
        yield well("server", "none runs on this data folder")
        return
    where = f"process {found.pid}, {found.url}"
    try:
        answer, date = _health(found)
    except (OSError, ValueError) as problem:
        yield error(
            "server",
            f"{where}: it holds the folder, and does not answer ({problem})",
            f"an answer within {ANSWER_SECONDS:g} s",
            "look at its log; if it hangs, restart it: nothing that was acknowledged is lost",
        )
        return
    if answer.get("pid", found.pid) != found.pid:
        yield warning(
            "server",
            f"{found.url} is answered by process {answer['pid']}, the folder is held by {found.pid}",
            "one server at that address",
            "compare the ports, and HANSA_HOME of both",
        )
        return
    yield well("server", where)
    if date is not None and abs((date - datetime.now(UTC)).total_seconds()) > SKEW_SECONDS:
        yield warning("clock", f"the server says {date:%Y-%m-%d %H:%M:%S} UTC", "the time of this machine", SET_CLOCK)


SET_CLOCK = "let the machine keep its clock by NTP (timedatectl set-ntp true)"


def _health(found: Running) -> tuple[dict[str, object], datetime | None]:
    """What it says of itself. Its certificate is made out to another name than we ask, so it is not compared."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = urllib.request.Request(f"{found.url}/api/health/", headers={"Host": found.name})  # noqa: S310  # http(s) by construction
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS, context=context) as answer:  # noqa: S310  # as above
        date = answer.headers.get("Date")
        told = json.load(answer)
    return told if isinstance(told, dict) else {}, parsedate_to_datetime(date) if date else None


def secret(config: Config, environ: Mapping[str, str], found: Running | None) -> Iterator[Finding]:
    """The key that signs sessions: of the running server, else of one that would be started with these variables."""
    whose = environ if found is None else found.environ
    if whose is None:
        yield warning(
            "secret",
            f"this user may not see by which key the server (process {found.pid if found else 0}) signs",
            "its variables",
            "run hansa doctor as the user who runs the server",
        )
        return
    stored = secret_key_file(config.home)
    given = next((name for name in ("HANSA_SECRET_KEY", "HANSA_SECRET_KEY_FILE") if whose.get(name)), None)
    if given is None and not stored.exists():
        yield warning("secret", f"{stored} is not there", "a key", "start the server once: it makes one")
        return
    source = f"{given} of the running server" if given and found is not None else given or str(stored)
    named = Path(whose["HANSA_SECRET_KEY_FILE"]) if given == "HANSA_SECRET_KEY_FILE" else None
    file = stored if given is None else named
    if found is not None and file is not None and _is_newer(found.place(file), config.home / LOCK):
        yield warning(
            "secret",
            f"{file} was written after the server was started, which signs with the key of before",
            "one key",
            "put the old file back, or restart the server: who is signed in by a browser signs in again",
        )
    else:
        yield well("secret", f"a key from {source}")


def _is_newer(path: Path, than: Path) -> bool:
    """Of two files of the running server; False where this user cannot know."""
    try:
        return path.stat().st_mtime > than.stat().st_mtime
    except OSError:
        return False


def hosts(config: Config, found: Running | None) -> Iterator[Finding]:
    """By which names it is called, from which pages, and where it may send; of the running server, if there is one."""
    config = (found.config if found is not None else None) or config
    problems = list(_hosts(config))
    loopback = " (this machine alone)" if config.allowed_hosts == LOOPBACK_HOSTS else ""
    yield from problems or [well("hosts", f"answers to {', '.join(config.allowed_hosts)}{loopback}")]


def _hosts(config: Config) -> Iterator[Finding]:
    if config.debug:
        yield warning("hosts", "HANSA_DEBUG is on: errors show the inside", "off where others reach it", "unset it")
    if "*" in config.allowed_hosts and not config.debug:
        yield warning(
            "hosts",
            "HANSA_ALLOWED_HOSTS is *: it answers to any name",
            "the names it has",
            "list them: HANSA_ALLOWED_HOSTS=fl.example.org,localhost",
        )
    if ANY_ORIGIN in config.cors_origins:
        yield warning(
            "hosts",
            "HANSA_CORS_ORIGINS is *: pages of any origin may call the API (with a token)",
            "the origins of your pages",
            "list them: HANSA_CORS_ORIGINS=https://front.example.org",
        )
    if wide := [network for network in config.push_allow.networks if network.prefixlen == 0]:
        yield warning(
            "hosts",
            f"HANSA_PUSH_ALLOW has {wide[0]}: users make this server send anywhere it can reach",
            "the hosts and networks of your clients",
            "list them",
        )


def limits() -> Iterator[Finding]:
    """How many files the process may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        yield warning(
            "limits",
            f"{hard} open files at most",
            f"{FILES}, as each waiting client is one",
            "LimitNOFILE= in the unit",
        )
    else:
        yield well("limits", f"{'any number of' if hard == resource.RLIM_INFINITY else format(hard, ',')} open files")
