"""When the tokens of streamed answers came, of a stage and of each second of one under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_seconds", sa.Column("streams", sa.LargeBinary(), nullable=True))
    op.add_column("stages", sa.Column("streams", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("stages", "streams")
    op.drop_column("run_seconds", "streams")
