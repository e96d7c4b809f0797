"""Alembic's entry: runs the versions on the connection that scim_server.storage.schema hands over."""

from alembic import context

from scim_server.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
    version_table="schema_version",
)
with context.begin_transaction():
    context.run_migrations()
