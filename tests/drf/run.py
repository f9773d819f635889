"""Run DRF's own test suite on plain DRF and over our classes, and compare: `make drf-suite`.

    PYTHONPATH=tests python -m drf.run [MODE …] [--only EXPRESSION]

Modes: `sync`, handlers as they are; `async`, every handler made `async def`; `mixed`, only those for GET. In these our
classes stand in DRF's place before DRF's generic views are imported; in `…/after`, all of DRF is imported first, and
reloaded then. `plain` always runs. Logs are in .cache/drf/logs.
"""

import argparse
import sys
import time
from pathlib import Path

from drf.environment import CACHE, ROOT, Environment, prepare
from drf.outcomes import HEADER, LEAST, Run, complaints

MODES = ("sync", "async", "mixed", "sync/after", "async/after")


def main(arguments: list[str]) -> int:
    """0 if every mode passes all that plain DRF passes, and did what it says."""
    parser = argparse.ArgumentParser(prog="python -m drf.run", description="DRF's own test suite over Hansa's classes.")
    parser.add_argument("modes", nargs="*", metavar="MODE", help=", ".join(MODES))
    parser.add_argument("--only", help="pytest's -k: a part of the suite", metavar="EXPRESSION")
    options = parser.parse_args(arguments)
    if unknown := set(options.modes) - set(MODES):
        parser.error(f"there is no mode {', '.join(sorted(unknown))}; there are {', '.join(MODES)}")
    environment = prepare()
    print(f"DRF {environment.version}\n{HEADER}", flush=True)
    plain = _run(environment, "plain", options.only)
    found = {"plain": complaints(plain, plain, least=0 if options.only else LEAST)}
    print(plain.row(plain), flush=True)
    for mode in options.modes or MODES:
        run = _run(environment, mode, options.only)
        found[mode] = complaints(run, plain)
        print(run.row(plain), flush=True)
    for mode, reasons in found.items():
        for reason in reasons:
            print(f"{mode}: {reason}")
    return 1 if any(found.values()) else 0


def _run(environment: Environment, mode: str, only: str | None) -> Run:
    handlers, _, order = mode.partition("/")
    logs = CACHE / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{mode.replace('/', '-')}.log"
    report = log.with_suffix(".json")
    report.unlink(missing_ok=True)
    wanted = [f"--lifecycle={handlers}", f"--lifecycle-order={order or 'before'}", f"--lifecycle-report={report}"]
    begun = time.monotonic()
    environment.pytest("-p", "drf.plugin", *wanted, *(["-k", only] if only else []), log=log)
    if not report.exists():
        sys.exit(f"{mode}: the suite did not run. {log.relative_to(ROOT)} ends:\n{_end(log)}")
    return Run.read(report, mode, time.monotonic() - begun)


def _end(log: Path) -> str:
    return "\n".join(log.read_text().splitlines()[-15:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
