"""What follows when somebody proves for the first time that they read the mail to the address of an account.

Anybody may sign up with an address, so whoever did so is not known to be its owner until then. Who logs in by mail is:
what was set before, by a stranger perhaps, must not let that stranger in any longer.
"""

from sqlalchemy import RowMapping

from workers.api.people.passwords import password_changes
from workers.api.people.sessions import delete_session, sessions_of
from workers.api.people.users import Show, update_user
from workers.store.store import Transaction


async def prove_address(tx: Transaction, user: RowMapping, *, show: Show) -> RowMapping:
    """Note that the address of ``user`` is theirs; event ``users.[userId].update.verification``.

    The password and the sessions from before are void. Nothing changes if the address is verified already.

    Args:
        tx: the change.
        user: the row, which is locked.
        show: makes the payload of the event.

    Returns:
        The row as it is now.
    """
    if user["email_verified"]:
        return user
    for session in await sessions_of(tx.connection, tx.project.id, user["id"], lock=True):
        await delete_session(tx, session)
    changes = {"email_verified": True}
    if user["password_hash"] is not None:
        # Nor is it to be refused as a password that was used before: it need not be this person who did so.
        changes |= password_changes(user, None, {}, tx.now_text)
    return await update_user(tx, user, changes, attribute="verification", show=show)
