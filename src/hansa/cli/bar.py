"""A bar of bytes for what takes its time on this machine's disk, on stderr, if that is a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn

from hansa.cli import output


@contextmanager
def bar(doing: str, *, shown: bool) -> Iterator[Callable[[int, int], object]]:
    """Call what it gives with the bytes that are done, and all there are."""
    columns = (TextColumn(doing), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    hidden = not shown or not sys.stderr.isatty()
    with Progress(*columns, console=output.console(sys.stderr), transient=True, disable=hidden) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
