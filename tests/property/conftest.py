"""Random tests print how to repeat a failure; a slow machine is no failure."""

from hypothesis import settings

settings.register_profile("hansa", deadline=None, print_blob=True, max_examples=200)
settings.load_profile("hansa")
