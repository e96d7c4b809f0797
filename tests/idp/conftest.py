"""The running application as a fixture."""

from web.serving import database_url, server, tenant

__all__ = ["database_url", "server", "tenant"]
