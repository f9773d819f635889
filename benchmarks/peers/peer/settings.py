"""Settings as a careful project has them: no debugging, a connection that stays open, SQLite in WAL mode."""

import os
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit


def database(url: str) -> dict[str, Any]:  # Any: Django's own shape of this setting
    """`sqlite:///path` or `postgresql://user@/name?host=/folder` as Django wants it."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        options = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"}
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path,
            "CONN_MAX_AGE": None,
            "OPTIONS": options,
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.removeprefix("/"),
        "USER": parts.username,
        "CONN_MAX_AGE": None,
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


SECRET_KEY = os.environ["PEER_SECRET_KEY"]
DATABASES = {"default": database(os.environ["PEER_DATABASE_URL"])}
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "peer.urls"
AUTH_USER_MODEL = "peer.User"
USE_TZ = True

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "rest_framework",
    "rest_framework.authtoken",
    "peer",
]
if find_spec("django_bolt"):
    INSTALLED_APPS.append("django_bolt")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
