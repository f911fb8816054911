"""What an API key may read: each scope names its channels, and no more."""

import pytest

from realtime.errors import InvalidPermissionError
from realtime.identity.scopes import READ_ALL, READ_NOTHING, roles_of_channels, roles_of_key
from realtime.permissions import validate_role

FAMILIES = [
    ("rows.read", "rows"),
    ("documents.read", "documents"),
    ("documents.read", "rows"),
    ("files.read", "files"),
    ("users.read", "account"),
    ("teams.read", "teams"),
    ("teams.read", "memberships"),
    ("execution.read", "executions"),
    ("executions.read", "executions"),
    ("presences.read", "presences"),
]


class TestRolesOfKey:
    @pytest.mark.parametrize("scope", ["*", "realtime.read"])
    def test_everything(self, scope: str) -> None:
        assert roles_of_key(["files.read", scope]) == {READ_ALL}

    @pytest.mark.parametrize(("scope", "channel"), FAMILIES)
    def test_scope_reads_the_channels_it_names(self, scope: str, channel: str) -> None:
        assert roles_of_key([scope]) & roles_of_channels([channel])

    def test_scopes_add_up(self) -> None:
        roles = roles_of_key(["files.read", "teams.read"])
        assert roles == roles_of_key(["files.read"]) | roles_of_key(["teams.read"])

    @pytest.mark.parametrize("scopes", [[], ["events.write"], ["rows"]])
    def test_no_reading_scope_reads_nothing(self, scopes: list[str]) -> None:
        assert roles_of_key(scopes) == {READ_NOTHING}


class TestRolesOfChannels:
    @pytest.mark.parametrize(("scope", "channel"), FAMILIES)
    def test_other_families_stay_unread(self, scope: str, channel: str) -> None:
        others = {
            other for other, named in FAMILIES if not roles_of_key([other]) & roles_of_channels([channel])
        }
        assert scope not in others
        assert len(others) >= len({name for name, _ in FAMILIES}) - 2

    def test_channels_that_no_scope_names_are_for_all_reading_keys_only(self) -> None:
        assert roles_of_channels(["reports", "reports.R"]) == {READ_ALL}

    def test_nothing_reads_nothing(self) -> None:
        assert READ_NOTHING not in roles_of_channels([channel for _, channel in FAMILIES])

    def test_no_event_can_name_an_internal_role(self) -> None:
        for role in {*roles_of_channels([channel for _, channel in FAMILIES]), READ_NOTHING}:
            with pytest.raises(InvalidPermissionError):
                validate_role(role)
