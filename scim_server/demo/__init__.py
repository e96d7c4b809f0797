"""`scim-server demo`: server, example CRM and an identity provider's requests, on one machine, in one command.

Everything runs for real: two child processes, HTTP between them, a fresh database in a temporary directory that is
removed at the end. It uses the server only from outside, as anybody could.
"""

from scim_server.demo.story import run

__all__ = ["run"]
