"""Secrets that open single files, without an account: JSON Web Tokens in the parameter ``token`` of a file's URL.

They are signed with keys that sign nothing else, so none of them passes for a user's token, nor the other way round.
What counts of a secret is which row of ``file_tokens`` it belongs to: the row decides what it opens, and until when.
"""

from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy import RowMapping, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.jwt import mint
from realtime.identity.model import Project
from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.models.people import Row
from workers.store.sealing import Sealer
from workers.store.tables import file_tokens
from workers.store.times import to_text, to_unix

MAX_SECRET_CHARS = 2048
"""How long a secret is that is looked at."""

_PURPOSE = "file tokens"
_ACCESS_INTERVAL = timedelta(hours=24)
"""How exactly it is kept when a token was last used."""


def sign_token(sealer: Sealer, row: Row) -> str:
    """Return the secret of a row of ``file_tokens``."""
    claims = {
        "tokenId": row["id"],
        "project": row["project_id"],
        "resourceType": "files",
        "resourceId": f"{row['bucket_id']}:{row['file_id']}",
    }
    if row["expires_at"] is not None:
        # For whoever holds it to see; it is the row that counts.
        claims["exp"] = int(to_unix(row["expires_at"]))
    return mint(claims, sealer.signing_keys(_PURPOSE)[-1])


def read_token_id(sealer: Sealer, project_id: str, secret: str) -> str | None:
    """Return which token a secret is of; None if it was not made here, or in another project."""
    if len(secret) > MAX_SECRET_CHARS:
        return None
    for key in reversed(sealer.signing_keys(_PURPOSE)):
        try:
            claims = jwt.decode(secret, key, algorithms=["HS256"], options={"verify_exp": False})
        except (jwt.PyJWTError, ValueError):
            continue
        token_id = claims.get("tokenId")
        return token_id if isinstance(token_id, str) and claims.get("project") == project_id else None
    return None


async def find_token(
    connection: AsyncConnection, services: Services, file: Row, secret: str
) -> RowMapping | None:
    """Return the row of the token that opens a file, given by its row of ``files``; None if the secret does not.

    Raises:
        ApiError: 401 ``token_expired``.
    """
    token_id = read_token_id(services.sealer, file["project_id"], secret)
    if token_id is None:
        return None
    found = await connection.execute(
        select(file_tokens).where(
            file_tokens.c.project_id == file["project_id"],
            file_tokens.c.id == token_id,
            file_tokens.c.file_seq == file["seq"],
        )
    )
    row = found.mappings().one_or_none()
    if row is not None and row["expires_at"] is not None and row["expires_at"] <= to_text(datetime.now(UTC)):
        raise refuse(Problem.TOKEN_EXPIRED)
    return row


async def note_access(services: Services, project: Project, row: Row) -> None:
    """Keep that a token was used just now, unless a use in the last 24 hours is kept already."""
    now = datetime.now(UTC)
    if row["accessed_at"] is not None and row["accessed_at"] > to_text(now - _ACCESS_INTERVAL):
        return
    async with services.store.write(project) as tx:
        await tx.connection.execute(
            update(file_tokens).where(file_tokens.c.seq == row["seq"]).values(accessed_at=tx.now_text)
        )
