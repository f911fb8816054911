"""How the account service checks a person's password and makes the hash of a new one.

Both take long, so they come before the change, with no transaction open. What was checked then is good for the password
that the user still has when the change is made: :func:`lock_same` makes sure of that.
"""

from sqlalchemy import RowMapping

from workers.api.errors import bad_request
from workers.api.people.passwords import check_password_rules, hash_password, verify_password
from workers.api.people.users import load_policies, require_user
from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.models.people import Row
from workers.store.store import Transaction

MIN_CHARS = 8
"""How long a new password is at least; those that other systems made may be shorter."""


async def prove_password(services: Services, user: Row, password: str) -> str | None:
    """Check that ``password`` is the user's; an anonymous user, who has none, takes it as their own.

    Returns:
        The hash of what is to become the user's password; None for a user who had one.

    Raises:
        ApiError: 401 ``user_invalid_credentials``; 400 for a new password that breaks a rule.
    """
    if user["password_hash"] is None:
        return await make_hash(services, user, password)
    if not await verify_password(password, user):
        raise refuse(Problem.USER_CREDENTIALS)
    return None


async def make_hash(services: Services, user: Row, password: str) -> str:
    """Return the hash of a new password for the row of a user.

    Raises:
        ApiError: 400 for a password that is too short or breaks a rule of the project.
    """
    if len(password) < MIN_CHARS:
        raise bad_request(f"Invalid `password` param: Value must be at least {MIN_CHARS} chars.")
    async with services.store.read() as connection:
        policies = await load_policies(connection, user["project_id"])
    await check_password_rules(password, policies, row=user)
    return await hash_password(password)


async def lock_same(tx: Transaction, user: Row) -> RowMapping:
    """Return the row of a user as it is now, locked, if the password is still the one of ``user``.

    Raises:
        ApiError: 401 ``user_invalid_credentials``, when it was changed meanwhile; 404 when the user was deleted.
    """
    row = await require_user(tx.connection, tx.project.id, user["id"], lock=True)
    if row["password_hash"] != user["password_hash"]:
        raise refuse(Problem.USER_CREDENTIALS)
    return row
