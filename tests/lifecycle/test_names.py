"""What a project imports from `hansa.server.lifecycle` itself."""

import subprocess
import sys

import pytest

from hansa.server import lifecycle

SET_UP = """
import django
from django.conf import settings
settings.configure(INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"])
django.setup()
"""


@pytest.mark.parametrize("first", ["", "import hansa.server.lifecycle.generics, hansa.server.lifecycle.events\n"])
def test_a_name_means_the_same_whatever_was_imported_before(first):
    names = "\n".join(
        f"from hansa.server.lifecycle import {name}; assert callable({name}), {name}" for name in lifecycle.__all__
    )

    done = subprocess.run([sys.executable, "-c", SET_UP + first + names], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
