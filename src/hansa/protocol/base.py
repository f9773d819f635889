"""What every message has in common."""

import msgspec

PROTOCOL_VERSION = 4
"""Raised when an old client could no longer understand an answer. A task says which version it needs.

1: tasks to train from a version, and to evaluate one. 2: tasks that begin from a local model, and for SWAG moments.
3: tasks that calibrate a version. 4: the spread of a metric without what a participant may not know; tasks whose update
may be sent in fewer bytes (clients before send whole params, which is taken as well).
"""

IDEMPOTENCY_HEADER = "Idempotency-Key"
"""Names a request that makes something, so that it makes one thing however often it is sent."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From a client to the server. Unknown fields are refused."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """From the server to a client. Unknown fields are ignored: the server may be newer."""
