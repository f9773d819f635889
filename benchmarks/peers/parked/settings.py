"""What Hansa has around a request, in the same order; no database, since nobody here has a session or a token."""

import os

SECRET_KEY = os.environ["PARKED_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "parked.urls"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
]
MIDDLEWARE = [
    "hansa.server.lifecycle.headers.SecurityHeadersMiddleware",
    "hansa.server.lifecycle.middleware.WhiteNoiseMiddleware",
    "hansa.server.lifecycle.middleware.SessionMiddleware",
    "hansa.server.lifecycle.middleware.CommonMiddleware",
    "hansa.server.lifecycle.middleware.CsrfViewMiddleware",
    "hansa.server.lifecycle.middleware.AuthenticationMiddleware",
    "hansa.server.lifecycle.middleware.MessageMiddleware",
]
STATIC_URL = "static/"
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["hansa.server.lifecycle.rendering.StructJSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "EXCEPTION_HANDLER": "hansa.server.lifecycle.answers.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
