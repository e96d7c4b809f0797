"""The running application as a fixture."""

from web.serving import database_url, server, sqlite_url, tenant

__all__ = ["database_url", "server", "sqlite_url", "tenant"]
