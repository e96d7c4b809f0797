"""Published figures, measured: the product beside a bare Starlette + asyncpg server, and how soon sessions end."""
