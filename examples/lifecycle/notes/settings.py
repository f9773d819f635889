"""An ordinary Django project. What is there for the lifecycle is marked with (*)."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("NOTES_DATA", HERE))  # where the database and the files go
FILES = DATA / "files"

SECRET_KEY = "an example has nothing to hide"  # noqa: S105  # as it says
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "notes.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
WHITENOISE_USE_FINDERS = True

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    "notes",
]

# (*) Django's own middleware works too, each at the price of thread hops; these run on the event loop.
MIDDLEWARE = [
    "hansa.server.lifecycle.middleware.WhiteNoiseMiddleware",
    "hansa.server.lifecycle.middleware.SessionMiddleware",
    "hansa.server.lifecycle.middleware.CommonMiddleware",
    "hansa.server.lifecycle.middleware.CsrfViewMiddleware",
    "hansa.server.lifecycle.middleware.AuthenticationMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATA / "notes.sqlite3",
        "CONN_MAX_AGE": None,  # (*) the threads live on, and their connections may
        "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL", "transaction_mode": "IMMEDIATE"},
    }
}

# (*) All optional; these are the defaults, but for the limit, which is none.
LIFECYCLE = {
    "THREADS": 4,  # for synchronous code, each with its database connection
    "BODY_LIMIT": 2**20,  # bytes of a body that is read for the view; one that streams has its own
    "WATCH_AFTER": 1.0,  # seconds after which a request ends if its client has gone
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["stderr"], "level": "ERROR"}},
}

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": [
        "hansa.server.lifecycle.rendering.StructJSONRenderer",  # (*) DRF's JSONRenderer works too
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.BasicAuthentication",  # synchronous, as DRF has it: one hop
        "hansa.server.lifecycle.sessions.SessionAuthentication",  # (*) no hop for whoever has no cookie
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["hansa.server.lifecycle.throttles.UserRateThrottle"],  # (*) DRF's work too
    "DEFAULT_THROTTLE_RATES": {"user": "1000/min"},
}
