"""As little as the lifecycle needs: no database, no accounts, no middleware of its own."""

import os

SECRET_KEY = os.environ["PARKED_SECRET_KEY"]
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "parked.urls"
INSTALLED_APPS = ["rest_framework"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
]
USE_TZ = True
REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["hansa.server.lifecycle.rendering.StructJSONRenderer"],
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "EXCEPTION_HANDLER": "hansa.server.lifecycle.answers.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
