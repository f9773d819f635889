"""Copy the front-end libraries named in package.json, with their licences, to where they are served from.

    python scripts/vendor_front_end.py            # fetch and copy
    python scripts/vendor_front_end.py --check    # compare what is committed with what the registry has

Needs npm. What it writes is committed, so that running Hansa, and its tests, needs neither Node nor a network.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SERVED = ROOT / "src/hansa/server/dashboard/static/dashboard/vendor"
FOR_TESTS = ROOT / "tests/system/browser/vendor"

FILES = {
    "htmx.org": (SERVED, ("dist/htmx.min.js", "LICENSE")),
    "idiomorph": (SERVED, ("dist/idiomorph-ext.min.js", "LICENSE")),
    "uplot": (SERVED, ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE")),
    "axe-core": (FOR_TESTS, ("axe.min.js", "LICENSE")),
}
"""Of each package: where its files go, and which."""


def main() -> int:
    """Copy, or compare; 1 if anything committed differs."""
    pinned = json.loads((ROOT / "package.json").read_text())
    versions = pinned["dependencies"] | pinned["devDependencies"]
    different = []
    for package, (folder, names) in FILES.items():
        for path, content in _fetched(f"{package}@{versions[package]}", folder / package, names):
            if "--check" in sys.argv[1:]:
                if not path.is_file() or path.read_bytes() != content:
                    different.append(path.relative_to(ROOT))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                print(f"{path.relative_to(ROOT)}: {len(content):,} bytes")
    for path in different:
        print(f"{path} is not as in the registry: run scripts/vendor_front_end.py", file=sys.stderr)
    return 1 if different else 0


def _fetched(package: str, folder: Path, names: tuple[str, ...]) -> Iterator[tuple[Path, bytes]]:
    """Each file's place and content."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(  # noqa: S603  # names from package.json, no shell
            ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", scratch, package],  # noqa: S607
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for name in names:
                member = archive.extractfile(f"package/{name}")
                if member is None:
                    raise FileNotFoundError(f"{package} has no {name}; look into the package, and change FILES here.")
                yield folder / Path(name).name, member.read()


if __name__ == "__main__":
    sys.exit(main())
