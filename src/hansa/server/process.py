"""One process is the whole server: the event loop for HTTP, the orchestrator, one writer thread, workers beside it.

`serve` and `manage` are what the command line calls. Both return an exit code, and explain in one line what a person
can mend: a busy port, a second server, a missing permission, a full disk, a setting that cannot be used.
"""

import asyncio
import fcntl
import gc
import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from hansa.crashpoints import crash_point
from hansa.server import certificates, config, database, home

if TYPE_CHECKING:
    from granian.server.embed import Server

log = logging.getLogger("hansa.server")

BACKLOG = 8192
BACKPRESSURE = 16384
"""Requests served at once. granian's default follows the backlog of its listener; parked clients need more."""

READ_AHEAD = 128 * 2**10
"""Bytes that a connection buffers each way, and so the longest head of a request. granian's own (408 KiB) took a
fifth of the memory of 256 clients with 1 MB each; with half of this, large updates cost more of the processor."""

GARBAGE = (10_000, 20, 20)
"""Objects between two looks for garbage, and looks of each kind between two of the next. Python's own (700, 10, 10)
took a tenth of the processor under load, and a tenth of a second at a time from everybody."""

SHUTDOWN_SECONDS = 5.0
ASK_AGAIN_SECONDS = 0.02
ALONE_SECONDS = 2.0
"""How long PostgreSQL may be back before its lock is taken again: less than another server's start takes."""
"""Between two looks whether the port is open yet."""


class StartError(Exception):
    """The server cannot start; the message says what to do."""


def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
) -> int:
    """Serve until SIGINT or SIGTERM. Returns 0, or 1 after saying on stderr why it could not start."""
    gc.disable()  # until everything is loaded: a seventh of the start was spent on looking for garbage in it
    try:
        _prepare_process()
        settings = config.read(os.environ)
        _check_exposure(host, settings, tls=tls_cert is not None, insecure=insecure)
        _check_tls(tls_cert, tls_key)
        _allow_host(host)
        _check_port(host, port)
        home.prepare(settings)
        with home.HomeLock(settings.home):
            _setup_django()
            _secure_cookies(tls=tls_cert is not None)
            with database.sole_server(settings.postgres) as sole:
                _migrate(settings)
                crash_point("server.migrated")
                announcement = partial(_announce, settings, host, port, tls=tls_cert is not None, code=_first_run())
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    runner.run(_serve(host, port, tls_cert, tls_key, announcement, sole))
    except (config.ConfigError, home.HomeError, database.UnusableDatabaseError, StartError) as error:
        print(f"hansa serve: {error}", file=sys.stderr)
        return 1
    return 0


def manage(arguments: Sequence[str]) -> int:
    """Run one of Django's commands (`migrate`, `createsuperuser`, …) on the server's database."""
    try:
        _prepare_process()
        settings = config.read(os.environ)
        home.prepare(settings)
        _setup_django()
        from django.core.management import execute_from_command_line

        if arguments[:1] != ["migrate"]:
            _migrate(settings)
            print(f"Data folder: {settings.home}", file=sys.stderr)
        execute_from_command_line(["hansa", *arguments])
    except SystemExit as error:
        # Django's own way to end a command; it has said why.
        return error.code if isinstance(error.code, int) else 1
    except (config.ConfigError, home.HomeError, database.UnusableDatabaseError, StartError) as error:
        print(f"hansa {' '.join(arguments[:1])}: {error}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def sole_use() -> Iterator[config.Config]:
    """The server's data for a command that nothing may run beside: Django set up, everything locked and up to date.

    Raises ConfigError, HomeError or UnusableDatabaseError, whose message says what a person can do.
    """
    _prepare_process()
    settings = config.read(os.environ)
    home.prepare(settings)
    with home.HomeLock(settings.home):
        _setup_django()
        with database.sole_server(settings.postgres):
            _migrate(settings)
            yield settings


def _prepare_process() -> None:
    """What is written is nobody else's to read; and as many connections as the system lets this process have."""
    os.umask(0o077)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _secure_cookies(*, tls: bool) -> None:
    from django.conf import settings as django_settings

    if tls:
        django_settings.SESSION_COOKIE_SECURE = django_settings.CSRF_COOKIE_SECURE = True


def _check_exposure(host: str, settings: config.Config, *, tls: bool, insecure: bool) -> None:
    if _is_loopback(host) or tls or insecure or settings.trusted_proxy:
        return
    raise StartError(
        f"{host} can be reached from other machines, and without TLS everybody on the way could read tokens and "
        "models. Give --tls-cert and --tls-key; or set HANSA_TRUSTED_PROXY=1 if a proxy in front does TLS; or, in a "
        "network you trust entirely, --insecure."
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_tls(cert: Path | None, key: Path | None) -> None:
    if (cert is None) != (key is None):
        raise StartError("--tls-cert and --tls-key go together: give both, or neither.")
    if cert is None or key is None:
        return
    try:
        certificates.serve(cert, key)
    except certificates.CertificateError as error:
        raise StartError(str(error)) from error


def _allow_host(host: str) -> None:
    """The address one binds to may be asked for by name; further names are HANSA_ALLOWED_HOSTS."""
    if not os.environ.get("HANSA_ALLOWED_HOSTS") and not _is_loopback(host):
        names = {*config.LOOPBACK_HOSTS, socket.gethostname(), socket.getfqdn()}
        if host not in ("0.0.0.0", "::"):  # noqa: S104  # compared, not bound
            names.add(f"[{host}]" if ":" in host else host)
        os.environ["HANSA_ALLOWED_HOSTS"] = ",".join(sorted(names))


def _check_port(host: str, port: int) -> None:
    """Bind once before granian does, whose own complaint is a traceback."""
    if not 0 < port < 65536:
        raise StartError(f"{port} is not a port; give one from 1 to 65535.")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except socket.gaierror as error:
        raise StartError(f"There is no address {host!r} on this machine ({error.strerror}).") from error
    except PermissionError as error:
        raise StartError(f"Port {port} needs more rights than this user has. Give one above 1023 by --port.") from error
    except OSError as error:
        raise StartError(
            f"Port {port} on {host} cannot be used: {error.strerror}. Stop what uses it, or give another by --port."
        ) from error


def _setup_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hansa.server.settings")
    import django

    django.setup()


def _migrate(settings: config.Config) -> None:
    """Bring the database up to date. A second process that starts at the same time waits for the first."""
    from django.core.management import call_command

    with database.explained(settings.postgres), (settings.home / "migrate.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        call_command("migrate", verbosity=0, interactive=False)


def _first_run() -> str | None:
    """The code with which an empty server's first administrator is made."""
    from hansa.server.accounts import first_run

    return first_run.offer()


def _announce(settings: config.Config, host: str, port: int, *, tls: bool, code: str | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    url = f"{'https' if tls else 'http'}://{shown}:{port}"
    print(f"Hansa serves {url} (process {os.getpid()}, data in {settings.home}). Ctrl-C ends it.", flush=True)
    if code is not None:
        print(f"It has no administrator yet. Make the first in a browser at {url}/first-run/ with this code: {code}")
        print("or here: hansa createsuperuser", flush=True)
    if settings.debug:
        print("HANSA_DEBUG is on: errors show the server's inside. Not for a server that others reach.", flush=True)


def _server(host: str, port: int, tls_cert: Path | None, tls_key: Path | None) -> "Server":
    from granian.constants import HTTPModes, Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server.embed import Server

    from hansa.server.asgi import application

    return Server(
        application,
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        backlog=BACKLOG,
        backpressure=BACKPRESSURE,
        http1_settings=HTTP1Settings(max_buffer_size=READ_AHEAD),
        websockets=False,
        ssl_cert=tls_cert,
        ssl_key=tls_key,
        log_level=LogLevels.error,
        log_dictconfig={"loggers": {"_granian": {"propagate": True}}},  # its lines are written like all others
    )


async def _serve(  # what `serve` was asked for, and what it has taken
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    announce: Callable[[], None],
    sole: database.Sole,
) -> None:
    from hansa.server.lifecycle import events
    from hansa.server.trainings.hints import HINTS

    server = _server(host, port, tls_cert, tls_key)
    # What was loaded at the start stays: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        HINTS.close()
        events.end_all()
        server.stop()  # type: ignore[no-untyped-call]  # granian's own
        loop.call_later(SHUTDOWN_SECONDS, _leave)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    beside = [loop.create_task(_when_open(host, port, announce)), loop.create_task(_keep_alone(sole, stop))]
    await server.serve()
    for task in beside:
        task.cancel()


async def _keep_alone(sole: database.Sole, stop: Callable[[], None]) -> None:
    """Take the database's lock again when it was lost with PostgreSQL; end where another server was faster."""
    from django.db import Error as DatabaseError

    from hansa.server.lifecycle.bridge import work
    from hansa.server.lifecycle.outage import OUTAGES

    while True:
        await asyncio.sleep(ALONE_SECONDS)
        try:
            if not await work(sole.holds):
                log.critical("Another server works on the database since PostgreSQL was away; this one ends.")
                stop()
                return
        except DatabaseError as error:
            if not OUTAGES.met(error):
                log.exception("It cannot be seen whether another server works on the database.")


async def _when_open(host: str, port: int, announce: Callable[[], None]) -> None:
    """Say that the server serves once it does: scripts wait for that line. granian does not tell, so ask the port."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # asked, not bound
    while True:
        try:
            _, writer = await asyncio.open_connection(reachable, port)
        except OSError:
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        else:
            writer.close()
            crash_point("server.opened")
            announce()
            return


def _leave() -> None:
    """End with requests still open. Nothing is lost: what was acknowledged is on the disk, as after any crash."""
    log.warning("Requests still open after %g s were cut; their clients will come again.", SHUTDOWN_SECONDS)
    os._exit(0)
