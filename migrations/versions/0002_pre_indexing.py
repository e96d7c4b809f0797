"""By which rules the search columns and index rows of each tenant's resources were made."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_pre_indexing"
down_revision = "0001_pre_first"
branch_labels = None
depends_on = None

Id = sa.String(36).with_variant(postgresql.UUID(as_uuid=False), "postgresql")
Key = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "indexing",
        sa.Column("tenant_id", Id, nullable=False),
        sa.Column("type", Key, nullable=False),
        sa.Column("rules", Key, nullable=True),
        sa.Column("target", Key, nullable=True),
        sa.Column("after_id", Id, nullable=True),
        sa.PrimaryKeyConstraint("tenant_id", "type"),
    )
