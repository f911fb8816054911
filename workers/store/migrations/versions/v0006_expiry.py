"""What expires is found by when it does."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the indexes."""
    for table in ("sessions", "tokens", "challenges", "transactions"):
        op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])
