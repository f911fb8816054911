"""Secrets for one use: what is mailed to people, or handed to a server, to be presented once.

Only their hashes are kept. A secret that a person types is short, and so may be guessed a few times only.
"""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, RowMapping, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.secrets import hash_secret, verify_secret
from workers.store.ids import new_id, new_secret
from workers.store.store import Transaction
from workers.store.tables import tokens
from workers.store.times import to_text

TYPED_KINDS = frozenset({"email", "phone", "phone-verification"})
"""Kinds of tokens whose secret is a short code that a person types."""

MAILED_KINDS = frozenset({"recovery", "verification", "magic-url", "email"})
"""Kinds of tokens that prove that somebody reads the mail to the address of the user."""

PASSWORD_KINDS = frozenset({"recovery", "magic-url", "email", "phone", "generic"})
"""Kinds of tokens that let somebody in, or set a password: they do not outlive the password."""

MAX_ATTEMPTS = 5
"""How often a wrong code may be presented while one is expected; then it is void."""


async def create_token(
    tx: Transaction,
    user_id: str,
    kind: str,
    *,
    lifetime_s: float,
    secret: str | None = None,
    token_id: str | None = None,
) -> tuple[RowMapping, str]:
    """Make a token of a kind that the table ``tokens`` names, and return its row and its secret.

    Its event is the caller's to emit. A new code makes earlier ones of its kind void, so that nobody guesses at many.

    Args:
        tx: the change.
        user_id: whom the token is for.
        kind: what it may be used for.
        lifetime_s: for how long, in seconds.
        secret: None makes one of 256 hexadecimal digits.
        token_id: None makes one.
    """
    secret = new_secret() if secret is None else secret
    void = tokens.c.expires_at <= tx.now_text
    if kind in TYPED_KINDS:
        void |= tokens.c.kind == kind
    await tx.connection.execute(delete(tokens).where(_of_user(tx, user_id), void))
    made = await tx.connection.execute(
        insert(tokens)
        .values(
            project_id=tx.project.id,
            id=new_id() if token_id is None else token_id,
            user_id=user_id,
            kind=kind,
            secret_hash=hash_secret(secret),
            expires_at=to_text(tx.now + timedelta(seconds=lifetime_s)),
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
        .returning(tokens)
    )
    return made.mappings().one(), secret


async def use_token(tx: Transaction, user_id: str, kinds: Collection[str], secret: str) -> RowMapping | None:
    """Take the token of one of ``kinds`` that has this secret: it cannot be used again.

    Returns:
        The row that it had; None when there is none. The attempt is then counted against the codes that were expected,
        which lasts only if the change is committed: refuse after the end of its block.
    """
    found = await tx.connection.execute(
        select(tokens)
        .where(_of_user(tx, user_id), tokens.c.kind.in_(kinds), tokens.c.expires_at > tx.now_text)
        .order_by(tokens.c.seq)
        .with_for_update()
    )
    rows = found.mappings().all()
    row = next((each for each in rows if verify_secret(secret, each["secret_hash"])), None)
    if row is not None:
        await tx.connection.execute(delete(tokens).where(tokens.c.seq == row["seq"]))
        return row
    expected = _of_user(tx, user_id) & tokens.c.kind.in_(TYPED_KINDS.intersection(kinds))
    await tx.connection.execute(update(tokens).where(expected).values(attempts=tokens.c.attempts + 1))
    await tx.connection.execute(delete(tokens).where(expected, tokens.c.attempts >= MAX_ATTEMPTS))
    return None


async def has_token(
    connection: AsyncConnection, project_id: str, user_id: str, kind: str, secret: str
) -> bool:
    """Tell whether a user has a token of ``kind`` with this secret, without taking it."""
    found = await connection.execute(
        select(tokens.c.secret_hash).where(
            tokens.c.project_id == project_id,
            tokens.c.user_id == user_id,
            tokens.c.kind == kind,
            tokens.c.expires_at > to_text(datetime.now(UTC)),
        )
    )
    return any(verify_secret(secret, stored) for stored in found.scalars())


async def void_tokens(tx: Transaction, user_id: str, kinds: Collection[str]) -> None:
    """Make the tokens of ``kinds`` void that a user has: what they were to prove is no longer so."""
    await tx.connection.execute(delete(tokens).where(_of_user(tx, user_id), tokens.c.kind.in_(kinds)))


def _of_user(tx: Transaction, user_id: str) -> ColumnElement[bool]:
    return (tokens.c.project_id == tx.project.id) & (tokens.c.user_id == user_id)
