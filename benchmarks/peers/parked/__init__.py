"""A small Django project over Hansa's request lifecycle, for requests that wait to be woken all at once."""
