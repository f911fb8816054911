"""Who takes part in the story, and what its acts share."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.callers import Caller, RefusedError
from tests.mailbox import Mailbox

if TYPE_CHECKING:
    from tests.e2e.conftest import Proxy

CHANNELS = ("rows", "documents", "account", "teams", "memberships", "files", "executions", "presences")
PASSWORD = "correct horse battery"
POSTS = {"databaseId": "main", "tableId": "posts"}
ADA_KEEPS = ['update("user:ada")', 'delete("user:ada")']


class Story:
    """The people, the backend, and what is between them and the server."""

    def __init__(
        self, endpoint: str, callers: dict[str, Caller], *, proxy: "Proxy", mailbox: Mailbox, project: str
    ) -> None:
        self.endpoint = endpoint
        self.project = project
        self.backend = callers["backend"]
        self.ada = callers["ada"]
        self.bob = callers["bob"]
        self.carol = callers["carol"]
        self.visitor = callers["visitor"]
        # What Ada reaches the server through.
        self.proxy = proxy
        self.mailbox = mailbox
        # What IDs that the server made are called in the names of events.
        self.known: dict[str, str] = {}

    def seen_by(self, watcher: Caller) -> list[str]:
        """Return the first names of what somebody was shown, without what they all begin with."""
        return [self._shortened(event["events"][0]) for event in watcher.events]

    def _shortened(self, name: str) -> str:
        for made, known in self.known.items():
            name = name.replace(made, known)
        return name.removeprefix("tablesdb.main.tables.posts.")

    async def add_row(self, row_id: str, *permissions: str) -> Any:
        """Have Ada add a row, which she may change; ``permissions`` say who else may do what."""
        given = {"permissions": [*permissions, *ADA_KEEPS]} if permissions else {}
        return await self.ada.call(
            "tablesDB.createRow", **POSTS, rowId=row_id, data={"title": row_id}, **given
        )

    async def refuse(self, person: Caller, call: str, error_type: str, **arguments: Any) -> None:
        """Have somebody ask for what they may not have."""
        with pytest.raises(RefusedError) as refused:
            await person.call(call, **arguments)
        assert refused.value.type == error_type
