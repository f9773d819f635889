"""A Django site of its own, under any middleware, on DRF by WSGI and on the lifecycle's handler."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler

from hansa.server.lifecycle.asgi import Handler


@pytest.fixture
def django_site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Django's settings for these tests: its defaults, no database behind sessions, and dice that fall alike."""
    settings.REST_FRAMEWORK = {}
    settings.LIFECYCLE = {}
    settings.MIDDLEWARE = []
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    settings.CSRF_COOKIE_AGE = None
    settings.LANGUAGES = [("en", "English"), ("de", "German")]
    settings.LOGIN_URL = "/hello/"
    settings.FILE_UPLOAD_TEMP_DIR = None
    for module in ("django.contrib.sessions.backends.base", "django.middleware.csrf"):
        monkeypatch.setattr(f"{module}.get_random_string", lambda length=12, *_, **__: ("abcdefghij" * length)[:length])
    yield settings
    cache.clear()


@pytest.fixture
def serve(django_site: Any) -> Iterator[Callable[..., Handler]]:
    """Make a handler of the lifecycle for a URLconf; its threads end with the test."""
    made: list[Handler] = []

    def make(urls: Any, *, middleware: tuple[str, ...] = (), **lifecycle: Any) -> Handler:
        django_site.ROOT_URLCONF = urls
        django_site.MIDDLEWARE = list(middleware)
        django_site.LIFECYCLE = lifecycle
        made.append(Handler())
        return made[-1]

    yield make
    for handler in made:
        handler.lender.shutdown()


@pytest.fixture
def serve_wsgi(django_site: Any) -> Callable[..., WSGIHandler]:
    """Make Django's WSGI handler for a URLconf."""

    def make(urls: Any, *, middleware: tuple[str, ...] = ()) -> WSGIHandler:
        django_site.ROOT_URLCONF = urls
        django_site.MIDDLEWARE = list(middleware)
        return WSGIHandler()

    return make
