"""What an ASGI server says of a request."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes


def http_scope(method: str, target: str, headers: Mapping[str, str], *, server: str = "testserver") -> dict[str, Any]:
    """`target`: the path as it is sent, with its query."""
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin1")) for name, value in headers.items()],
        "server": (server, 80),
        "client": ("192.0.2.1", 40000),
    }
