"""The wire: one frozen Struct per message, shared by the server and its clients.

A module per subject: `tasks` (what a client does), `models`, `trainings`, `accounts`, `errors`. Requests refuse
unknown fields, so that a typing error in a plan is told and not ignored; answers ignore them, so that a client
goes on working with a newer server.
"""

from hansa.protocol.base import PROTOCOL_VERSION, Answer, Request

__all__ = ["PROTOCOL_VERSION", "Answer", "Request"]
