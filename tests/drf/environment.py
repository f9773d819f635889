"""Where DRF's suite runs: a virtual environment of its own and the tests of the very DRF in it, both kept in .cache."""

import hashlib
import os
import subprocess
import sys
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / ".cache" / "drf"
INGREDIENTS = (HERE / "requirements.txt", ROOT / "constraints.txt")

ASK_VERSION = "import rest_framework; print(rest_framework.VERSION)"

FORGET = ("DATABASE_URL", "DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "PYTHONPATH", "VIRTUAL_ENV")
"""Variables of the caller that would change what the suite does."""


@dataclass(frozen=True)
class Environment:
    """A Python, and the folder that holds the suite as `tests`."""

    python: Path
    suite: Path
    version: str
    """Of DRF."""

    def pytest(self, *arguments: str, log: Path) -> None:
        """Run the suite. Whether it ran, and what passed, is for the caller to see from what the run wrote."""
        command = [str(self.python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        with log.open("w") as out:
            subprocess.run(
                command, cwd=self.suite, env=self._variables(), stdout=out, stderr=subprocess.STDOUT, check=False
            )

    def _variables(self) -> dict[str, str]:
        # Our sources are read where they lie, so what is tested is the working tree.
        kept = {name: value for name, value in os.environ.items() if name not in FORGET}
        return {**kept, "PYTHONPATH": os.pathsep.join(map(str, (HERE.parent, ROOT / "src")))}


def prepare() -> Environment:
    """Make what is missing, from a package index; afterwards no network is needed until a requirement changes."""
    recipe = b"".join(path.read_bytes() for path in INGREDIENTS) + sys.version.encode()
    folder = CACHE / hashlib.sha256(recipe).hexdigest()[:12]
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "installed"
    if not done.exists():
        print(f"Installing what DRF's suite wants into {folder.relative_to(ROOT)}, once.", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        _pip(python, "install", "-r", HERE / "requirements.txt", "-c", ROOT / "constraints.txt")
        done.touch()
    version = subprocess.check_output([python, "-c", ASK_VERSION], text=True).strip()
    return Environment(python, _suite(python, version), version)


def _suite(python: Path, version: str) -> Path:
    name = f"djangorestframework-{version}"
    folder = CACHE / name
    if not folder.exists():
        _pip(python, "download", "--no-deps", "--no-binary", ":all:", "-d", CACHE, f"djangorestframework=={version}")
        with tarfile.open(CACHE / f"{name}.tar.gz") as archive, TemporaryDirectory(dir=CACHE) as unpacked:
            # Not `rest_framework`, which would be imported in place of the installed one.
            wanted = [each for each in archive if each.name.startswith((f"{name}/tests/", f"{name}/pyproject.toml"))]
            careful = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.0 to 3.11.3 have none
            archive.extractall(unpacked, wanted, **careful)  # noqa: S202  # DRF's own release
            (Path(unpacked) / name).rename(folder)
    return folder


def _pip(python: Path, command: str, *arguments: str | Path) -> None:
    pip = [str(python), "-m", "pip", command, "--quiet", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *map(str, arguments)], check=True)
