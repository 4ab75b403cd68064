"""What each of several generators sent of a stage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("stages", sa.Column("shares", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("stages", "shares")
