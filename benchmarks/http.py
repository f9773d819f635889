"""What a small authenticated request costs, beside plain Django REST framework and django-bolt; and what waiting costs.

    python benchmarks/http.py --seconds 10 --rounds 3 --json
    python benchmarks/http.py --idle

The work is the same for all: GET /api/users/myself/ with `Authorization: Token …`, answered with the caller's own
record as JSON, from one server process over 64 keep-alive connections of wrk on the same machine. Hansa is
`hansa serve` as it ships: authentication, throttles and middleware on. The peers serve one ordinary Django project
(benchmarks/peers) from virtual environments of their own, made on the first run below .cache/bench. Before anything is
measured, each stack has to answer the same fields, and to refuse no token, a wrong one, and one that was ended.

The stacks take turns, round by round, since no machine is equally quiet all the time; figures are medians over the
rounds. Memory and CPU are sums over a stack's processes. A stack that could not be run is "not run", one that answered
anything but 2xx is "failed": neither has a number.

`--idle` parks thousands of requests on one server and wakes them all: KiB and threads for each, and how long until the
last one knows. Long polls wait on `hansa serve` (POST /api/tasks/next/?wait=120); to be woken all at once, long polls
and event streams wait on a small project over Hansa's request lifecycle (benchmarks/peers/parked).
"""

import importlib.util
import sys
import sysconfig
from pathlib import Path


def give_way() -> None:
    """Put the standard library's `http` in the place of this file, whose name hides it from the scripts beside it."""
    folder = Path(sysconfig.get_path("stdlib"), "http")
    spec = importlib.util.spec_from_file_location(
        "http", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"the standard library's http is not in {folder}", name="http")
    module = importlib.util.module_from_spec(spec)
    sys.modules["http"] = module
    spec.loader.exec_module(module)


if __name__ == "http":
    give_way()
elif __name__ == "__main__":
    from comparison import main

    sys.exit(main(__doc__ or "", sys.argv[1:]))
