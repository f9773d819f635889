"""Hansa's settings, but passwords are hashed in no time: ten wrong ones are to be tried within a few seconds."""

from hansa.server.settings import *  # noqa: F403  # these settings and one more

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
