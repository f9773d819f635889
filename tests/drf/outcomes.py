"""What a run of the suite showed, and what it lacks against the run on plain DRF."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LEAST = 1_592
"""Tests that must pass on plain DRF; fewer, and something that the suite wants is not installed."""


@dataclass(frozen=True)
class Run:
    """One run: outcome by test (`passed`, `failed`, `skipped`), reasons of failures, and what ran meanwhile."""

    mode: str
    seconds: float
    outcomes: dict[str, str]
    reasons: dict[str, str]
    counts: dict[str, int]

    @classmethod
    def read(cls, path: Path, mode: str, seconds: float) -> "Run":
        """From the file that the plugin wrote."""
        return cls(mode, seconds, **json.loads(path.read_text()))

    def passed(self) -> set[str]:
        """Names of the tests that passed."""
        return {test for test, outcome in self.outcomes.items() if outcome == "passed"}

    def row(self, plain: "Run") -> str:
        """Its line of the table."""
        of = Counter(self.outcomes.values())
        numbers = (of["passed"], of["failed"], of["skipped"], len(plain.passed() - self.passed()))
        shown = (*numbers, *(self.counts[name] for name in ("views", "viewsets", "requests", "awaited", "handlers")))
        return f"{self.mode:<14}" + "".join(f"{number:>9,}" for number in shown) + f"{self.seconds:>8.1f} s"


HEADINGS = ("passed", "failed", "skipped", "missing", "views", "viewsets", "requests", "awaited", "handlers")
HEADER = f"{'mode':<14}" + "".join(f"{heading:>9}" for heading in HEADINGS)


def complaints(run: Run, plain: Run, least: int = LEAST) -> list[str]:
    """Why the run does not show what its mode should show; empty if it does."""
    found = [f"{test}: {_reason(run, test)}" for test in sorted(plain.passed() - run.passed())]
    if run is plain:
        found += [f"{test}: {reason}" for test, reason in sorted(run.reasons.items())]
        if len(run.passed()) < least:
            seen = f"{len(run.passed()):,} tests passed on plain DRF, {least:,} or more should"
            found.append(f"{seen}: see tests/drf/requirements.txt")
        return found
    wanted = ("views", "viewsets", "requests", *(() if run.mode.startswith("sync") else ("awaited", "handlers")))
    idle = [name for name in wanted if not run.counts[name]]
    return found + [f"no {name} were counted, so the mode did not do what it says" for name in idle]


def _reason(run: Run, test: str) -> str:
    return run.reasons.get(test) or f"was {run.outcomes.get(test, 'not run')}"
