"""How the requests of a stage, and of each second of one under way, ended."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run_seconds", sa.Column("outcomes", sa.Text(), nullable=True))
    op.add_column("stages", sa.Column("outcomes", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("stages", "outcomes")
    op.drop_column("run_seconds", "outcomes")
