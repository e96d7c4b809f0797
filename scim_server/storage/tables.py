"""The tables, for both databases. Every key starts with tenant_id, so that the data can be sharded by tenant;
`tenant`, `token`, `secret`, `outbox` and `sentinel` are the exceptions. All timestamps are unix milliseconds, ids are
UUIDv7 made by the application, and text that is compared is folded in Python and stored in binary collation:
databases disagree about lower case.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData()

Id = String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Key = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
Json = Text().with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

tenant = Table(
    "tenant",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Key, nullable=False, unique=True),
    Column("options", Json, nullable=False),  # what `tenant set` sets, as one JSON object
    Column("created", BigInteger, nullable=False),
    Column("frozen_until", BigInteger),  # writes answer 429 until then
)

token = Table(
    "token",
    metadata,
    Column("id", Key, primary_key=True),  # the middle part of scim_<id>_<secret>
    Column("tenant_id", Id, nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", Key, nullable=False, unique=True),  # SHA-256 of the whole token, hex
    Column("scope", Text, nullable=False),  # scim | scim:read | scim:revoke
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("last_used", BigInteger),  # to the minute
    Column("revoked", BigInteger),
    Index("token_tenant", "tenant_id"),
)

# Keys that all processes share (secret.py).
secret = Table(
    "secret",
    metadata,
    Column("name", Key, primary_key=True),
    Column("value", Key, nullable=False),  # hex
)

resource = Table(
    "resource",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("type", Key, nullable=False),
    Column("id", Id, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False),
    # Whether access groups (a tenant's option) leave a user in; access = active and entitled.
    Column("entitled", Boolean, nullable=False, server_default=text("true")),
    # The key no two resources of a type may share: userName of users, displayName of groups where the tenant wants it.
    Column("unique_key", Key),
    Column("external_id", Key),
    Column("display_name_key", Key),
    Column("family_name_key", Key),
    # The JSON document without id, meta, members and groups: spliced into answers undecoded.
    Column("doc", Json, nullable=False),
    # The same as filters see it, folded and typed (keys.search_of), without what has an exact column.
    Column("search", Json, nullable=False),
    PrimaryKeyConstraint("tenant_id", "type", "id"),
    Index("resource_unique_key", "tenant_id", "type", "unique_key", unique=True),
    Index("resource_external_id", "tenant_id", "type", "external_id"),
    Index("resource_display_name", "tenant_id", "type", "display_name_key", "id"),
    Index("resource_family_name", "tenant_id", "type", "family_name_key", "id"),
    Index("resource_modified", "tenant_id", "type", "modified", "id"),
    Index(
        "resource_inactive",
        "tenant_id",
        "type",
        "id",
        postgresql_where=text("NOT active"),
        sqlite_where=text("active = 0"),  # letter by letter what a query says: SQLite does not reason
    ),
    Index(
        "resource_unentitled",
        "tenant_id",
        "type",
        "id",
        postgresql_where=text("NOT entitled"),
        sqlite_where=text("entitled = 0"),
    ),
)

member = Table(
    "member",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("group_id", Id, nullable=False),
    Column("member_id", Id, nullable=False),
    Column("type", Key, nullable=False),  # User | Group
    Column("display", Text),  # as sent
    PrimaryKeyConstraint("tenant_id", "group_id", "member_id"),
    Index("member_of", "tenant_id", "member_id", "group_id"),
    # A member added while its user is being deleted must lose: the row is refused, the request tried again.
    ForeignKeyConstraint(["tenant_id", "type", "member_id"], ["resource.tenant_id", "resource.type", "resource.id"]),
)

resource_value = Table(
    "resource_value",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("type", Key, nullable=False),
    Column("attr", Key, nullable=False),  # e.g. emails.value, folded
    Column("value_key", Key, nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("exclusive", Boolean, nullable=False),  # uniqueness: server
    PrimaryKeyConstraint("tenant_id", "type", "attr", "value_key", "resource_id"),
    Index("resource_value_of", "tenant_id", "type", "resource_id"),
    Index(
        "resource_value_exclusive",
        "tenant_id",
        "type",
        "attr",
        "value_key",
        unique=True,
        postgresql_where=text("exclusive"),
        sqlite_where=text("exclusive"),
    ),
)

# By which rules (keys.rules) the search columns and index rows of a tenant's resources were made, and how far a reindex
# by other rules has come.
indexing = Table(
    "indexing",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("type", Key, nullable=False),
    Column("rules", Key),  # those of all rows; NULL: not known
    Column("target", Key),  # those of the reindex under way
    Column("after_id", Id),  # which has done all up to this one
    PrimaryKeyConstraint("tenant_id", "type"),
)

# The Argon2id hash of a user's password, where the tenant keeps it; apart, so that no read of a user carries it.
credential = Table(
    "credential",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("hash", Text, nullable=False),
    PrimaryKeyConstraint("tenant_id", "resource_id"),
)

# What is known of a key under which a store files sessions. Survives the user, so that its epoch never goes back.
subject = Table(
    "subject",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("store", Key, nullable=False),
    Column("subject", Key, nullable=False),
    Column("resource_id", Id, nullable=False),  # whose it was at the last move
    Column("change_id", Id, nullable=False),  # the audit row of that move
    Column("epoch", BigInteger, nullable=False),
    Column("denied", Boolean, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("modified", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "store", "subject"),
)

outbox = Table(
    "outbox",
    metadata,
    Column(
        "id", Id, primary_key=True
    ),  # the delivery's idempotency key; UUIDv7, so id order = commit order per subject
    Column("change_id", Id, nullable=False),  # the audit row of the write that made it
    Column("tenant_id", Id, nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("store", Key, nullable=False),
    Column("subject", Key, nullable=False),
    Column("action", Key, nullable=False),
    Column("type", Key, nullable=False),
    Column("epoch", BigInteger),
    Column("denied", Boolean),
    Column("not_before", BigInteger),
    Column("data", Json, nullable=False),
    Column("created", BigInteger, nullable=False),
    # Order of commits, for readers of the event feed: on Postgres the transaction, on SQLite a running number.
    Column("position", BigInteger, nullable=False),
    Column("due", BigInteger, nullable=False),  # not before; also the lease: a claim moves it into the future
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("tried", BigInteger),  # first, since it was made or replayed
    Column("held", Boolean, nullable=False, server_default=text("false")),  # by the mass brake
    Column("settled", BigInteger),  # when it was done, or given up
    Column("outcome", Key),  # done | refused | gone (refused for good: switches the receiver off) | cancelled
    Column("sessions", Integer),
    Column("guard_seen", Boolean),
    Column("error", Text),  # of the last attempt
    Column("echoes", Integer, nullable=False, server_default=text("0")),  # repetitions done after it was settled
    Column("echo_due", BigInteger),  # the next one; NULL: none. No part of the queue, so it holds nothing up
    CheckConstraint("action IN ('terminate', 'lift', 'notify')", name="outbox_action"),
    Index(
        "outbox_due",
        "store",
        "due",
        "id",
        postgresql_where=text("settled IS NULL"),
        sqlite_where=text("settled IS NULL"),
    ),
    Index(
        "outbox_queue",
        "tenant_id",
        "store",
        "subject",
        "id",
        postgresql_where=text("settled IS NULL"),
        sqlite_where=text("settled IS NULL"),
    ),
    Index("outbox_change", "change_id"),
    Index(
        "outbox_echo",
        "store",
        "echo_due",
        postgresql_where=text("echo_due IS NOT NULL"),
        sqlite_where=text("echo_due IS NOT NULL"),
    ),
    Index(
        "outbox_gone",
        "store",
        "tenant_id",
        postgresql_where=text("outcome = 'gone'"),
        sqlite_where=text("outcome = 'gone'"),
    ),
    Index("outbox_feed", "tenant_id", "store", "position", "id"),
    Index(
        "outbox_settled",
        "settled",
        postgresql_where=text("settled IS NOT NULL"),
        sqlite_where=text("settled IS NOT NULL"),
    ),
)

# What was last known of each session store, so that one that forgot something is noticed, and one that is new is told
# who may not come in. One row a store, or one a tenant where each tenant has a server of its own.
sentinel = Table(
    "sentinel",
    metadata,
    Column("store", Key, nullable=False),
    Column("tenant", Key, nullable=False),  # a tenant's name; "" for all
    Column("id", Id, nullable=False),  # the sentinel's name in the store; marks the subjects of the backfill too
    Column("template", Text, nullable=False),  # the subject template that the backfill was for
    Column("planned", BigInteger, nullable=False, server_default=text("0")),  # the value on its way to the store
    Column("previous", BigInteger, nullable=False, server_default=text("0")),  # the one before: the store has no higher
    Column("confirmed", BigInteger, nullable=False, server_default=text("0")),  # a value that the store had
    Column("fingerprint", Text),
    Column("owner", Id),  # the process that beats and mends
    Column("leased", BigInteger, nullable=False, server_default=text("0")),  # until when it is the only one
    Column("lost", BigInteger),  # when the store was found to have lost something; NULL once that is made good
    Column("stage", Key),  # of the backfill: deny | spare; NULL when it is done
    Column("after_tenant", Key, nullable=False, server_default=text("''")),  # how far the stage has come
    Column("after_id", Key, nullable=False, server_default=text("''")),
    PrimaryKeyConstraint("store", "tenant"),
)

audit = Table(
    "audit",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("id", Id, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),  # token:<id> | cli:<user> | …
    Column("action", Key, nullable=False),  # user.patch, token.issue, …
    Column("resource_type", Key),
    Column("resource_id", Id),
    Column("request_id", Text, nullable=False),
    Column("detail", Json, nullable=False),  # names of what changed, never personal values
    PrimaryKeyConstraint("tenant_id", "id"),
    Index("audit_resource", "tenant_id", "resource_id", "id"),
    Index("audit_request", "tenant_id", "request_id", "id"),
)

# Who lost access, when and how: what the mass brake counts and an undo restores from.
deactivation = Table(
    "deactivation",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("resource_id", Id, nullable=False),
    Column("change_id", Id, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("how", Key, nullable=False),  # deactivated | deleted | left-access-groups
    Column("actor", Text, nullable=False),
    # Of a deleted user what brings it back: {"document", "groups"}. Forgotten with the row, after the retention.
    Column("remains", Json),
    Column("undone", BigInteger),
    PrimaryKeyConstraint("tenant_id", "resource_id", "change_id"),
    Index("deactivation_at", "tenant_id", "at"),
)

# Requests that wrote or tried to, masked, for `scim-server request show`.
exchange = Table(
    "exchange",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", Text),
    Column("content", Json, nullable=False),  # {"sent", "meant", "quirks", "ignored"}
    PrimaryKeyConstraint("tenant_id", "request_id", "at"),
    Index("exchange_at", "tenant_id", "at"),
)

# Totals without count(*); 16 rows a tenant and type, so that parallel writers rarely meet.
counter = Table(
    "counter",
    metadata,
    Column("tenant_id", Id, nullable=False),
    Column("type", Key, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "type", "shard"),
)
