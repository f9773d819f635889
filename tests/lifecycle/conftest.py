"""Views of a test, served: `serve(view)` is a site in bare settings, `way` is every way in which a view can be made."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.test import override_settings

from lifecycle import project
from lifecycle.event_sources import Source

BARE_SETTINGS: dict[str, Any] = {"MIDDLEWARE": [], "REST_FRAMEWORK": {}, "LIFECYCLE": {}, "ALLOWED_HOSTS": ["*"]}
"""None of Hansa's own: the lifecycle serves any Django project."""


@pytest.fixture
def serve() -> Iterator[Callable[..., project.Site]]:
    """`serve(view)`, or `serve(path(…), path(…), MIDDLEWARE=[…])`: to the end of the test these are Django's settings.

    Middleware may be given as the functions or classes themselves. Of two sites in one test, the later one's URLs hold.
    """
    with ExitStack() as stack:

        def site(*patterns: Any, **settings: Any) -> project.Site:
            settings = {**BARE_SETTINGS, **settings, "ROOT_URLCONF": project.urls(*patterns)}
            settings["MIDDLEWARE"] = [project.lent(each) for each in settings["MIDDLEWARE"]]
            stack.enter_context(override_settings(**settings))
            site = project.Site()
            stack.callback(site.handler.lender.shutdown)
            return site

        yield site
    project.LENT.clear()


@pytest.fixture(params=project.WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each way of making a view in turn; for `make_view`."""
    return str(request.param)


@pytest.fixture(params=project.AWAITED)
def awaited_way(request: pytest.FixtureRequest) -> str:
    """Each way whose lifecycle is awaited."""
    return str(request.param)


@pytest.fixture(params=project.CLASSES)
def class_way(request: pytest.FixtureRequest) -> str:
    """Each kind of class, for rules about hooks that functions cannot override."""
    return str(request.param)


@pytest.fixture
def source() -> Source:
    """The iterator of a stream, for tests of server-sent events."""
    return Source()
