"""Virtual environments of the peers: apart from the project's own, so that nobody's pins bind anybody else."""

import hashlib
import subprocess
import sys
from pathlib import Path

from harness import BenchmarkError

HERE = Path(__file__).resolve().parent
PEERS: Path = HERE / "peers"
CACHE = HERE.parent / ".cache" / "bench"
LAST_LINES = 5


def programs(name: str) -> Path:
    """The folder of the programs of an environment with `peers/requirements-<name>.txt`; made if it is not there yet.

    Raises BenchmarkError with the end of pip's complaint.
    """
    requirements = PEERS / f"requirements-{name}.txt"
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    ready = folder / "installed"
    if not ready.exists():
        print(f"Installing {requirements.name} into {folder}.", file=sys.stderr)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(folder / "bin" / "pip"), "install", "--quiet", "--requirement", str(requirements)])
        ready.touch()
    return folder / "bin"


def installed(folder: Path, package: str) -> str:
    """The version of a package in the environment whose programs are in `folder`."""
    code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    return subprocess.run(
        [str(folder / "python"), "-c", code, package], capture_output=True, text=True, check=True
    ).stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-LAST_LINES:])
        raise BenchmarkError(f"{' '.join(command[:3])} … ended with {done.returncode}: {last}")
