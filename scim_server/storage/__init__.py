"""Tenants, resources, members, subjects and the outbox in Postgres or SQLite, behind one port."""
