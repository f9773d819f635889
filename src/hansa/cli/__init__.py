"""The command line, `hansa`: thin commands over the SDK and the server.

A module per group of commands (`models`, `trainings`, …); `app` joins them. Each asks through `session`, names things
by `lookup`, and speaks through `output`: tables for people, one JSON document for programs. What a command's exit code
means is in `exits`.

Importing this package needs a base install only: the server and torch are imported by the commands that use them.
"""

from hansa.cli.app import main

__all__ = ["main"]
