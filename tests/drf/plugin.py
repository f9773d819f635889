"""The pytest plugin of one run: `-p drf.plugin --lifecycle MODE --lifecycle-report FILE`."""

import json
from pathlib import Path
from typing import cast

import pytest

from drf.witness import Witness


class Report:
    """Outcomes by test, and the evidence."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.outcomes: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.witness = Witness()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has passed if its call did and nothing about it failed: neither set-up, tear-down nor a subtest."""
        if report.failed:
            self.outcomes[report.nodeid] = "failed"
            message = getattr(getattr(report.longrepr, "reprcrash", None), "message", None) or report.longreprtext
            self.reasons.setdefault(report.nodeid, message)
        elif report.skipped or report.when == "call":
            self.outcomes.setdefault(report.nodeid, "skipped" if report.skipped else "passed")

    def pytest_sessionfinish(self) -> None:
        """Write it down."""
        found = {"outcomes": self.outcomes, "reasons": self.reasons, "counts": self.witness.counts()}
        self.path.write_text(json.dumps(found))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    parser.addoption("--lifecycle", default="plain", choices=("plain", "sync", "async", "mixed"))
    parser.addoption("--lifecycle-order", default="before", choices=("before", "after"))
    parser.addoption("--lifecycle-report", type=Path, required=True)


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put our classes in place, after the suite's own conftest has set Django up and before a test is imported."""
    report = Report(config.getoption("--lifecycle-report"))
    config.pluginmanager.register(report, "lifecycle-report")
    mode = cast("str", config.getoption("--lifecycle"))  # pytest's getoption is untyped
    if mode == "plain":
        return
    # Django is set up only now, and DRF's modules read its settings when they are imported.
    from drf.handlers import METHODS, make_async
    from drf.substitution import substitute

    view, mixin = substitute(config.getoption("--lifecycle-order"))
    report.witness.watch(view, mixin)
    if methods := METHODS[mode]:
        make_async(view, mixin, methods, report.witness)
