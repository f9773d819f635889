"""Load by wrk: one thread, keep-alive connections, one header."""

import shutil
import subprocess
from pathlib import Path

import msgspec
from harness import BenchmarkError

SCRIPT = Path(__file__).resolve().with_suffix(".lua")
CONNECTIONS = 64
MARGIN_SECONDS = 30.0


class Load(msgspec.Struct, frozen=True):
    """What wrk saw. Times are in microseconds."""

    requests: int
    microseconds: int
    p50: int
    p99: int
    status: int
    """Answers of 400 and above."""
    connect: int
    read: int
    write: int
    timeout: int

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.microseconds * 1e6

    @property
    def errors(self) -> str:
        """Everything that went wrong, by name; nothing did if it is empty."""
        kinds = ("status", "connect", "read", "write", "timeout")
        return ", ".join(f"{getattr(self, kind):,} {kind} errors" for kind in kinds if getattr(self, kind))


def program() -> str:
    """Where wrk is. Raises BenchmarkError that says how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError("there is no wrk on this machine. apt-get install wrk, or build it from its sources.")
    return found


def load(url: str, token: str, seconds: int) -> Load:
    """Ask for one address as often as the connections allow."""
    command = [program(), "-t", "1", "-c", str(CONNECTIONS), "-d", f"{seconds}s", "--timeout", "20s", "-s", str(SCRIPT)]
    try:
        done = subprocess.run(
            [*command, "-H", f"Authorization: Token {token}", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + MARGIN_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"wrk did not end {MARGIN_SECONDS:.0f} s after its time") from error
    if done.returncode != 0:
        raise BenchmarkError(f"wrk ended with {done.returncode}: {(done.stdout + done.stderr)[-500:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Load)
