"""The server's settings: one typed object, read once from `HANSA_*` when the process starts.

Every variable has a default with which `hansa serve` works in an empty folder. A value that cannot be used stops the
start with the variable's name, the value seen and the values wanted.
"""

import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from hansa.server.database import DatabaseURLError, Postgres
from hansa.server.destinations import EXAMPLE, LOOPBACK, DestinationError, Destinations

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
ANY_ORIGIN = "*"


class ConfigError(Exception):
    """A `HANSA_*` variable cannot be used; the message names it."""


class Registration(StrEnum):
    """Who may make accounts at `POST /api/users/`."""

    STAFF = "staff"
    OPEN = "open"


class LogFormat(StrEnum):
    """How a line of the log is written: for people, or for programs."""

    CONSOLE = "console"
    JSON = "json"


class Sandbox(StrEnum):
    """What becomes of a model's program where the machine lacks a protection."""

    STRICT = "strict"
    """It is not run."""
    WEAK = "weak"
    """It is run with the protections that there are."""


@dataclass(frozen=True, slots=True)
class Inference:
    """How models are asked: the processes that run their programs, and what one question may cost."""

    processes: int | None = None
    """None: as many as the process may use cores; 0: no programs are run."""
    memory_bytes: int = 2 * 2**30
    """What one process may take beyond what torch takes by itself."""
    seconds: int = 30
    """Until the answer; a program that takes longer is stopped."""
    input_bytes: int = 64 * 2**20
    sandbox: Sandbox = Sandbox.STRICT


Network = ipaddress.IPv4Network | ipaddress.IPv6Network

THIS_MACHINE: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings. `docs/reference/settings.md` describes them for operators."""

    home: Path
    """Database, blobs and secret key. Everything to back up is in it."""
    postgres: Postgres | None
    """The database, if it is not SQLite in `home`."""
    debug: bool
    secret_key: str
    """Signs sessions; from HANSA_SECRET_KEY(_FILE) or `<home>/secret_key`."""
    allowed_hosts: tuple[str, ...]
    trusted_proxy: bool
    """A proxy in front terminates TLS, sets X-Forwarded-Proto, and adds the caller's address to X-Forwarded-For."""
    throttles: bool
    """Limits on requests, on failed sign-ins and on open registration."""
    registration: Registration
    cors_origins: tuple[str, ...]
    """Pages of which other origins may call the API; ("*",): of any. Without cookies in every case."""
    max_model_bytes: int
    """Upper limit for a model file. An update's limit follows from its model."""
    log_level: str
    log_format: LogFormat
    log_access: bool
    """A line for each request."""
    metrics_allow: tuple[Network, ...]
    """From where /metrics may be read without credentials; staff may from anywhere."""
    push_allow: Destinations
    """Where notifications may be sent to."""
    inference: Inference = Inference()

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "hansa.sqlite3"


def read(environ: Mapping[str, str]) -> Config:
    """Read the settings from an environment. Raises ConfigError; touches no file but those that hold secrets."""
    if unknown := sorted(name for name in environ if name.startswith("HANSA_") and name not in KNOWN):
        raise ConfigError(
            f"{unknown[0]} is not a setting of Hansa. Known ones: {', '.join(sorted(KNOWN))}. Correct or unset it."
        )
    home = Path(environ.get("HANSA_HOME") or "hansa-data").absolute()
    debug = _boolean(environ, "HANSA_DEBUG")
    log_format = LogFormat(_choice(environ, "HANSA_LOG_FORMAT", tuple(LogFormat)))
    return Config(
        home=home,
        postgres=_postgres(environ),
        debug=debug,
        secret_key=_secret_key(environ, home),
        allowed_hosts=_hosts(environ, debug=debug),
        trusted_proxy=_boolean(environ, "HANSA_TRUSTED_PROXY"),
        throttles=_switch(environ, "HANSA_THROTTLES"),
        registration=Registration(_choice(environ, "HANSA_REGISTRATION", tuple(Registration))),
        cors_origins=_origins(environ),
        max_model_bytes=_integer(environ, "HANSA_MAX_MODEL_BYTES", default=16 * 2**30, least=1),
        log_level=_choice(environ, "HANSA_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
        log_format=log_format,
        log_access=_switch(environ, "HANSA_LOG_ACCESS", default="on" if log_format is LogFormat.JSON else "off"),
        metrics_allow=_networks(environ, "HANSA_METRICS_ALLOW", default=THIS_MACHINE),
        push_allow=_destinations(environ, debug=debug),
        inference=_inference(environ),
    )


KNOWN = frozenset(
    {
        "HANSA_HOME",
        "HANSA_DATABASE_URL",
        "HANSA_DEBUG",
        "HANSA_SECRET_KEY",
        "HANSA_SECRET_KEY_FILE",
        "HANSA_ALLOWED_HOSTS",
        "HANSA_TRUSTED_PROXY",
        "HANSA_THROTTLES",
        "HANSA_REGISTRATION",
        "HANSA_CORS_ORIGINS",
        "HANSA_MAX_MODEL_BYTES",
        "HANSA_LOG_LEVEL",
        "HANSA_LOG_FORMAT",
        "HANSA_LOG_ACCESS",
        "HANSA_METRICS_ALLOW",
        "HANSA_PUSH_ALLOW",
        "HANSA_SANDBOX",
        "HANSA_INFERENCE_PROCESSES",
        "HANSA_INFERENCE_MEMORY_BYTES",
        "HANSA_INFERENCE_SECONDS",
        "HANSA_INFERENCE_INPUT_BYTES",
        # read by the command line and the client, not here:
        "HANSA_SERVER",
        "HANSA_TOKEN",
        "HANSA_TOKEN_FILE",
        "HANSA_CA",
        "HANSA_STATE",
        "HANSA_PASSWORD",
        # read by the tests:
        "HANSA_TEST_DATABASE_URL",
        "HANSA_CRASH_AT",
    }
)


def _boolean(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "0").strip().lower()
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if text not in values:
        raise ConfigError(f"{name} is {environ[name]!r}; it must be 1 or 0.")
    return values[text]


def _switch(environ: Mapping[str, str], name: str, *, default: str = "on") -> bool:
    text = environ.get(name, "").strip().lower() or default
    if text not in ("on", "off"):
        raise ConfigError(f"{name} is {environ[name]!r}; it must be on or off.")
    return text == "on"


def _integer(environ: Mapping[str, str], name: str, *, default: int, least: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(f"{name} is {text!r}; it must be a whole number of at least {least}.")
    return int(text)


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = environ.get(name, "").strip().casefold() or choices[0].casefold()
    for choice in choices:
        if choice.casefold() == text:
            return choice
    raise ConfigError(f"{name} is {environ[name]!r}; it must be one of {', '.join(choices)}.")


def _networks(environ: Mapping[str, str], name: str, *, default: tuple[Network, ...]) -> tuple[Network, ...]:
    text = environ.get(name, "").strip()
    if not text or text.casefold() == NOBODY:
        return default if not text else ()
    networks: list[Network] = []
    for entry in (part.strip() for part in text.split(",")):
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError as error:
            raise ConfigError(
                f"{name} has {entry!r}, which is no network ({error}); it must be addresses and networks separated by "
                f"commas, such as 127.0.0.1,10.1.0.0/16,fd00::/8, or {NOBODY}."
            ) from error
    return tuple(networks)


def _hosts(environ: Mapping[str, str], *, debug: bool) -> tuple[str, ...]:
    text = environ.get("HANSA_ALLOWED_HOSTS", "").strip()
    if not text:
        return ("*",) if debug else LOOPBACK_HOSTS
    hosts = tuple(host.strip() for host in text.split(","))
    if bad := [host for host in hosts if not host or "/" in host or " " in host]:
        raise ConfigError(
            f"HANSA_ALLOWED_HOSTS has {bad[0]!r}; it must be host names separated by commas, such as "
            "fl.example.org,localhost (no http://, no spaces)."
        )
    return hosts


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    text = environ.get("HANSA_CORS_ORIGINS", "").strip()
    if not text:
        return ()
    origins = tuple(origin.strip() for origin in text.split(","))
    if origins == (ANY_ORIGIN,):
        return origins
    if bad := [origin for origin in origins if not _is_origin(origin)]:
        raise ConfigError(
            f"HANSA_CORS_ORIGINS has {bad[0]!r}; it must be origins as browsers send them, separated by commas, such "
            "as https://front.example.org,http://localhost:3000 (no path, no slash at the end, lower case, no :80 or "
            ":443), or * alone for all."
        )
    return origins


def _is_origin(text: str) -> bool:
    """Whether a browser would send exactly this in `Origin`: anything else would be set and never match."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    usual = {"http": 80, "https": 443}
    if parts.scheme not in usual or not parts.hostname or port in (0, usual[parts.scheme]):
        return False
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    written = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
    return text == written and text.isascii() and ANY_ORIGIN not in text and " " not in text


def _destinations(environ: Mapping[str, str], *, debug: bool) -> Destinations:
    text = environ.get("HANSA_PUSH_ALLOW", "").strip()
    if not text:
        return LOOPBACK if debug else Destinations()
    try:
        return Destinations.parse(text)
    except DestinationError as error:
        raise ConfigError(
            f"HANSA_PUSH_ALLOW: {error} It must be hosts and networks separated by commas, such as {EXAMPLE} (no "
            "http://, no ports)."
        ) from error


def _inference(environ: Mapping[str, str]) -> Inference:
    unset = Inference()
    has_processes = bool(environ.get("HANSA_INFERENCE_PROCESSES", "").strip())
    return Inference(
        processes=_integer(environ, "HANSA_INFERENCE_PROCESSES", default=0, least=0) if has_processes else None,
        memory_bytes=_integer(environ, "HANSA_INFERENCE_MEMORY_BYTES", default=unset.memory_bytes, least=2**26),
        seconds=_integer(environ, "HANSA_INFERENCE_SECONDS", default=unset.seconds, least=1),
        input_bytes=_integer(environ, "HANSA_INFERENCE_INPUT_BYTES", default=unset.input_bytes, least=1),
        sandbox=Sandbox(_choice(environ, "HANSA_SANDBOX", tuple(Sandbox))),
    )


def _postgres(environ: Mapping[str, str]) -> Postgres | None:
    if not (url := environ.get("HANSA_DATABASE_URL", "").strip()):
        return None
    try:
        postgres = Postgres.parse(url)
    except DatabaseURLError as error:
        raise ConfigError(f"HANSA_DATABASE_URL cannot be used: {error}") from error
    try:
        import psycopg  # noqa: F401  # Django will; here the message can say what to install
    except ImportError as error:
        raise ConfigError(
            "HANSA_DATABASE_URL names a PostgreSQL, and psycopg, which speaks to it, is not installed or not complete: "
            "pip install 'hansa[postgres]'"
        ) from error
    return postgres


def _secret_key(environ: Mapping[str, str], home: Path) -> str:
    if key := environ.get("HANSA_SECRET_KEY"):
        source, text = "HANSA_SECRET_KEY", key
    elif path := environ.get("HANSA_SECRET_KEY_FILE"):
        source, text = "HANSA_SECRET_KEY_FILE", _read_secret(Path(path), "HANSA_SECRET_KEY_FILE")
    elif (stored := secret_key_file(home)).exists():
        source, text = str(stored), _read_secret(stored, "HANSA_HOME")
    else:
        # Before the home folder is made (a type checker, `--help`): good for this process only.
        return secrets.token_urlsafe(48)
    if len(text) < 32:
        raise ConfigError(f"The key from {source} has {len(text)} characters; it must have at least 32.")
    return text


def _read_secret(path: Path, variable: str) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise ConfigError(f"{variable}: cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{variable}: {path} is not text. It must hold a key of at least 32 characters.") from error


def secret_key_file(home: Path) -> Path:
    """Where the key that was generated on the first start is kept (mode 600)."""
    return home / "secret_key"
