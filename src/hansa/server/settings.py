"""Django's settings, derived from `config.read(os.environ)`; operators set HANSA_* variables, never this file."""

import os
from typing import Any

from hansa.server import config, database
from hansa.server.ops import logs

CONFIG = config.read(os.environ)

SECRET_KEY = CONFIG.secret_key
DEBUG = CONFIG.debug
ALLOWED_HOSTS = list(CONFIG.allowed_hosts)
ROOT_URLCONF = "hansa.server.urls"
ASGI_APPLICATION = "hansa.server.asgi.application"
AUTH_USER_MODEL = "accounts.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
APPEND_SLASH = True

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "hansa.server.ops",  # before rest_framework, whose pages it dresses
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # the scripts of the pages that show the API's description
    "hansa.server.accounts",
    "hansa.server.blobs",
    "hansa.server.registry",
    "hansa.server.notifications",
    "hansa.server.trainings",
    "hansa.server.dashboard",
]

# All of them run on the event loop without a thread hop; for what synchronous Django views need, see each.
MIDDLEWARE = [
    "hansa.server.lifecycle.headers.SecurityHeadersMiddleware",
    "hansa.server.lifecycle.middleware.WhiteNoiseMiddleware",
    "hansa.server.lifecycle.middleware.SessionMiddleware",
    "hansa.server.lifecycle.middleware.CommonMiddleware",
    "hansa.server.lifecycle.middleware.CsrfViewMiddleware",
    "hansa.server.lifecycle.middleware.AuthenticationMiddleware",
    "hansa.server.lifecycle.middleware.MessageMiddleware",
]

if CONFIG.cors_origins:
    MIDDLEWARE.insert(1, "corsheaders.middleware.CorsMiddleware")  # refusals and errors of all others pass through it
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_ALL_ORIGINS = config.ANY_ORIGIN in CONFIG.cors_origins
CORS_ALLOWED_ORIGINS = [origin for origin in CONFIG.cors_origins if origin != config.ANY_ORIGIN]
CORS_ALLOW_CREDENTIALS = False  # no cookies from other origins: whoever calls from there shows a token or a password
CORS_ALLOW_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
CORS_ALLOW_HEADERS = (
    "accept",
    "authorization",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "if-range",
    "range",
    "traceparent",
    "tracestate",
    "upload-length",
    "upload-offset",
    "x-request-id",
    "x-requested-with",
)
CORS_EXPOSE_HEADERS = (
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Retry-After",
    "Upload-Offset",
    "X-Request-ID",
    "WWW-Authenticate",
)

LIFECYCLE = {"BODY_LIMIT": 10 * 2**20}  # for forms of the admin; views of the API have their own

TEMPLATES: list[dict[str, Any]] = [  # Any: Django's own shape of this setting
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Any: Django's own shape of this setting
DATABASES: dict[str, Any] = {"default": database.django_settings(CONFIG.postgres, CONFIG.home)}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

FILE_UPLOAD_TEMP_DIR = CONFIG.home / "tmp"  # beside the store, not in a memory-backed /tmp
SILENCED_SYSTEM_CHECKS = ["files.E001"]  # process.prepare makes that folder

STATIC_URL = "static/"
STATIC_ROOT = CONFIG.home / "static"
WHITENOISE_USE_FINDERS = True  # straight from the installed packages: no collectstatic before the first start
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False  # our pages alone use them

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "overview"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CONFIG.trusted_proxy
CSRF_COOKIE_SECURE = CONFIG.trusted_proxy
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CONFIG.trusted_proxy else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Generous: they stop what has gone wild, not what is busy. The `sign_in`s count failures (accounts/attempts.py).
THROTTLE_RATES = {
    "user": "100_000/min",
    "address": "300_000/min",
    "sign_up": "300/min",
    "sign_in_address": "20/min",
    "sign_in": "10/min",
    "inference": "60_000/min",
}

REST_FRAMEWORK: dict[str, Any] = {  # Any: DRF's own shape of this setting
    "DEFAULT_RENDERER_CLASSES": [
        "hansa.server.lifecycle.rendering.StructJSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser", "rest_framework.parsers.MultiPartParser"],
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "hansa.server.accounts.authentication.TokenAuthentication",
        "hansa.server.accounts.authentication.TokenInBasicAuthentication",
        "hansa.server.accounts.authentication.PasswordAuthentication",
        "hansa.server.lifecycle.sessions.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": [
        "hansa.server.lifecycle.throttles.UserRateThrottle",
        "hansa.server.lifecycle.throttles.AddressRateThrottle",
    ]
    if CONFIG.throttles
    else [],
    "DEFAULT_THROTTLE_RATES": THROTTLE_RATES if CONFIG.throttles else dict.fromkeys(THROTTLE_RATES),
    "NUM_PROXIES": 1 if CONFIG.trusted_proxy else 0,
    "DEFAULT_SCHEMA_CLASS": "hansa.server.lifecycle.openapi.ViewSchema",
    "EXCEPTION_HANDLER": "hansa.server.lifecycle.answers.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS: dict[str, Any] = {  # Any: drf-spectacular's own shape of this setting
    "TITLE": "Hansa",
    "DESCRIPTION": "Federated learning: models, trainings, and the tasks of their clients.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/",
    "COMPONENT_SPLIT_REQUEST": False,
    "POSTPROCESSING_HOOKS": ["hansa.server.lifecycle.openapi.describe_messages"],
}

LOGGING = logs.settings(CONFIG.log_format, CONFIG.log_level, access=CONFIG.log_access)
