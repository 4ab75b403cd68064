"""Production's own requests, and what they say of the capacity."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "spells",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("ended", sa.Double(), nullable=False),
        sa.Column("started", sa.Double(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("log", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("target", "source", "ended", name=op.f("pk_spells")),
    )
    op.create_table(
        "production_fits",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("slo", sa.Text(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("model", sa.LargeBinary(), nullable=True),
        sa.Column("drift", sa.Text(), nullable=True),
        sa.Column("against", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_production_fits")),
    )


def downgrade() -> None:
    op.drop_table("production_fits")
    op.drop_table("spells")
