"""Tokens that reach people by mail, and the mail that they come in.

Whoever asks for one learns nothing about the account by it: neither the secret, which only an API key is shown, nor
from the answer to a password reset whether the address is known.
"""

import secrets
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from sqlalchemy import update

from realtime.events.event import Event
from workers.api.mail import Mail
from workers.api.params import MAX_ID_CHARS, Body
from workers.api.people.links import extend_link
from workers.models.people import Row
from workers.models.sessions import token_model
from workers.store.store import Transaction
from workers.store.tables import users

MAGIC_URL_LIFETIME_S = 3600
CODE_LIFETIME_S = 900
RECOVERY_LIFETIME_S = 3600
VERIFICATION_LIFETIME_S = 7 * 86_400

_ADJECTIVES = (
    "amber", "brave", "bright", "calm", "clear", "cosy", "crisp", "early", "gentle", "golden", "green",
    "happy", "keen", "kind", "lively", "lucky", "merry", "mild", "noble", "plain", "proud", "quick", "quiet",
    "rapid", "rosy", "silver", "smooth", "sunny", "swift", "tidy", "warm", "wise",
)  # fmt: skip
_NOUNS = (
    "anchor", "apple", "badger", "beacon", "bridge", "candle", "castle", "cedar", "comet", "falcon", "forest",
    "garden", "harbor", "island", "kettle", "lantern", "maple", "meadow", "mirror", "otter", "pebble",
    "piano", "planet", "river", "rocket", "saddle", "shadow", "tulip", "valley", "violin", "walnut", "window",
)  # fmt: skip


class Proof(Body):
    """What the link in a mail holds."""

    userId: Annotated[str, Field(max_length=MAX_ID_CHARS)]
    secret: Annotated[str, Field(max_length=256)]


def new_phrase() -> str:
    """Return two words that the app shows and the mail repeats, so that people know which mail is theirs."""
    return f"{secrets.choice(_ADJECTIVES)} {secrets.choice(_NOUNS)}"


def new_code() -> str:
    """Return a code that people can type: six digits."""
    return f"{secrets.randbelow(1_000_000):06}"


def link_to(url: str, token: Row, secret: str) -> str:
    """Return the link in a mail: a page of the app, with what it needs to present the token."""
    return extend_link(url, userId=token["user_id"], secret=secret, expire=token["expires_at"])


def compose(user: Row, project_name: str, subject: str, paragraphs: Sequence[str], phrase: str = "") -> Mail:
    """Return the mail to a user, with a greeting and a close around ``paragraphs``."""
    greeting = f"Hello {user['name']}," if user["name"] else "Hello,"
    phrased = [
        f"The security phrase of this mail is: {phrase}. Trust it only if it is the one that you were shown."
    ]
    close = f"If you did not ask for this, you can ignore this message.\n\n{project_name}"
    text = "\n\n".join([greeting, *paragraphs, *(phrased if phrase else []), close])
    return Mail(user["email"], subject, text + "\n")


def emit_token(tx: Transaction, row: Row, kind: str, param: str, action: str) -> None:
    """Record the event ``users.[userId].<kind>.[<param>].<action>`` of a token. Its secret is not in it."""
    tx.emit(
        Event(
            f"users.[userId].{kind}.[{param}].{action}",
            token_model(row),
            params={"userId": row["user_id"], param: row["id"]},
            sensitive=("secret",),
        )
    )


async def verify_email(tx: Transaction, user: Row) -> None:
    """Note that a user reads the mail to their address. The event that says so is the caller's."""
    await tx.connection.execute(
        update(users).where(users.c.seq == user["seq"]).values(email_verified=True, updated_at=tx.now_text)
    )
    tx.change_user(user["id"])
