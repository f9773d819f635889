"""What every message has in common."""

import msgspec

PROTOCOL_VERSION = 1
"""Raised when an old client could no longer understand an answer; sent in every task."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From a client to the server. Unknown fields are refused."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """From the server to a client. Unknown fields are ignored: the server may be newer."""
