"""What a server serves: `notes.asgi:application`."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "notes.settings")
django.setup()

from hansa.server.lifecycle.asgi import Handler  # noqa: E402  # Django must be set up before

application = Handler()  # where get_asgi_application() would stand
