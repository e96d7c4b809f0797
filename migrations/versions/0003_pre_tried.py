"""Since when a message has been tried, which is not since it was made: it may be replayed, or find the server down."""

import sqlalchemy as sa
from alembic import op

revision = "0003_pre_tried"
down_revision = "0002_pre_indexing"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("tried", sa.BigInteger(), nullable=True))
