"""The first schema: tenants, tokens, resources, members, subjects, outbox, audit, counters."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_pre_first"
down_revision = None
branch_labels = None
depends_on = None

Id = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Key = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
Json = sa.Text().with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", Key, nullable=False),
        sa.Column("resource_type", Key, nullable=True),
        sa.Column("resource_id", Id, nullable=True),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("detail", Json, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "id"),
    )
    op.create_index("audit_request", "audit", ["tenant_id", "request_id", "id"], unique=False)
    op.create_index("audit_resource", "audit", ["tenant_id", "resource_id", "id"], unique=False)
    op.create_table(
        "counter",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "type", "shard"),
    )
    op.create_table(
        "credential",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("resource_id", Id, nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "resource_id"),
    )
    op.create_table(
        "deactivation",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("resource_id", Id, nullable=False),
        sa.Column("change_id", Id, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("how", Key, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("remains", Json, nullable=True),
        sa.Column("undone", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "resource_id", "change_id"),
    )
    op.create_index("deactivation_at", "deactivation", ["tenant_id", "at"], unique=False)
    op.create_table(
        "exchange",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("content", Json, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "request_id", "at"),
    )
    op.create_index("exchange_at", "exchange", ["tenant_id", "at"], unique=False)
    op.create_table(
        "outbox",
        sa.Column("id", Id, nullable=False),
        sa.Column("change_id", Id, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("resource_id", Id, nullable=False),
        sa.Column("store", Key, nullable=False),
        sa.Column("subject", Key, nullable=False),
        sa.Column("action", Key, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("denied", sa.Boolean(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("data", Json, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=True),
        sa.Column("outcome", Key, nullable=True),
        sa.Column("sessions", sa.Integer(), nullable=True),
        sa.Column("guard_seen", sa.Boolean(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("echoes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("echo_due", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("action IN ('terminate', 'lift', 'notify')", name="outbox_action"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outbox_change", "outbox", ["change_id"], unique=False)
    op.create_index(
        "outbox_due",
        "outbox",
        ["store", "due", "id"],
        unique=False,
        postgresql_where=sa.text("settled IS NULL"),
        sqlite_where=sa.text("settled IS NULL"),
    )
    op.create_index(
        "outbox_echo",
        "outbox",
        ["store", "echo_due"],
        unique=False,
        postgresql_where=sa.text("echo_due IS NOT NULL"),
        sqlite_where=sa.text("echo_due IS NOT NULL"),
    )
    op.create_index("outbox_feed", "outbox", ["tenant_id", "store", "position", "id"], unique=False)
    op.create_index(
        "outbox_gone",
        "outbox",
        ["store", "tenant_id"],
        unique=False,
        postgresql_where=sa.text("outcome = 'gone'"),
        sqlite_where=sa.text("outcome = 'gone'"),
    )
    op.create_index(
        "outbox_queue",
        "outbox",
        ["tenant_id", "store", "subject", "id"],
        unique=False,
        postgresql_where=sa.text("settled IS NULL"),
        sqlite_where=sa.text("settled IS NULL"),
    )
    op.create_index(
        "outbox_settled",
        "outbox",
        ["settled"],
        unique=False,
        postgresql_where=sa.text("settled IS NOT NULL"),
        sqlite_where=sa.text("settled IS NOT NULL"),
    )
    op.create_table(
        "resource",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("entitled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("unique_key", Key, nullable=True),
        sa.Column("external_id", Key, nullable=True),
        sa.Column("display_name_key", Key, nullable=True),
        sa.Column("family_name_key", Key, nullable=True),
        sa.Column("doc", Json, nullable=False),
        sa.Column("search", Json, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "type", "id"),
    )
    op.create_index("resource_display_name", "resource", ["tenant_id", "type", "display_name_key", "id"], unique=False)
    op.create_index("resource_external_id", "resource", ["tenant_id", "type", "external_id"], unique=False)
    op.create_index("resource_family_name", "resource", ["tenant_id", "type", "family_name_key", "id"], unique=False)
    op.create_index("resource_modified", "resource", ["tenant_id", "type", "modified", "id"], unique=False)
    op.create_index("resource_unique_key", "resource", ["tenant_id", "type", "unique_key"], unique=True)
    # The last ones made: among equals SQLite takes the newest.
    op.create_index(
        "resource_inactive",
        "resource",
        ["tenant_id", "type", "id"],
        unique=False,
        postgresql_where=sa.text("NOT active"),
        sqlite_where=sa.text("active = 0"),
    )
    op.create_index(
        "resource_unentitled",
        "resource",
        ["tenant_id", "type", "id"],
        unique=False,
        postgresql_where=sa.text("NOT entitled"),
        sqlite_where=sa.text("entitled = 0"),
    )
    op.create_table(
        "resource_value",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("attr", Key, nullable=False),
        sa.Column("value_key", Key, nullable=False),
        sa.Column("resource_id", Id, nullable=False),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "type", "attr", "value_key", "resource_id"),
    )
    op.create_index(
        "resource_value_exclusive",
        "resource_value",
        ["tenant_id", "type", "attr", "value_key"],
        unique=True,
        postgresql_where=sa.text("exclusive"),
        sqlite_where=sa.text("exclusive"),
    )
    op.create_index("resource_value_of", "resource_value", ["tenant_id", "type", "resource_id"], unique=False)
    op.create_table(
        "secret",
        sa.Column("name", Key, nullable=False),
        sa.Column("value", Key, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "sentinel",
        sa.Column("store", Key, nullable=False),
        sa.Column("tenant", Key, nullable=False),
        sa.Column("id", Id, nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("planned", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("previous", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("confirmed", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.Column("owner", Id, nullable=True),
        sa.Column("leased", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=True),
        sa.Column("stage", Key, nullable=True),
        sa.Column("after_tenant", Key, server_default=sa.text("''"), nullable=False),
        sa.Column("after_id", Key, server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("store", "tenant"),
    )
    op.create_table(
        "subject",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("store", Key, nullable=False),
        sa.Column("subject", Key, nullable=False),
        sa.Column("resource_id", Id, nullable=False),
        sa.Column("change_id", Id, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("denied", sa.Boolean(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("modified", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "store", "subject"),
    )
    op.create_table(
        "tenant",
        sa.Column("id", Id, nullable=False),
        sa.Column("name", Key, nullable=False),
        sa.Column("options", Json, nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("frozen_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "token",
        sa.Column("id", Key, nullable=False),
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", Key, nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("last_used", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("token_tenant", "token", ["tenant_id"], unique=False)
    op.create_table(
        "member",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("group_id", Id, nullable=False),
        sa.Column("member_id", Id, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("display", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "type", "member_id"],
            ["resource.tenant_id", "resource.type", "resource.id"],
        ),
        sa.PrimaryKeyConstraint("tenant_id", "group_id", "member_id"),
    )
    op.create_index("member_of", "member", ["tenant_id", "member_id", "group_id"], unique=False)


def downgrade() -> None:
    op.drop_table("member")
    op.drop_table("token")
    op.drop_table("tenant")
    op.drop_table("subject")
    op.drop_table("sentinel")
    op.drop_table("secret")
    op.drop_table("resource_value")
    op.drop_table("resource")
    op.drop_table("outbox")
    op.drop_table("exchange")
    op.drop_table("deactivation")
    op.drop_table("credential")
    op.drop_table("counter")
    op.drop_table("audit")
