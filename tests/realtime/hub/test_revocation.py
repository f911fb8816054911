"""Events take roles away from identities that came in a token, and never add any."""

import msgspec
import pytest

from realtime.events.names import expand
from realtime.hub.revocation import announces, concerned_role, may_revoke, precise_name, without_revoked
from realtime.identity.model import GUEST, Identity

ADA = Identity(
    user_id="ada",
    roles=frozenset(
        {
            "user:ada",
            "users",
            "team:red",
            "team:red/owner",
            "team:reds",
            "member:m1",
            "label:vip",
            "label:beta",
        }
    ),
)


class TestWithoutRevoked:
    @pytest.mark.parametrize(
        ("event", "payload"),
        [
            ("users.ada.delete", {}),
            ("users.ada.update.status", {"status": False}),
            ("users.ada.update", {"status": False}),
        ],
    )
    def test_deleted_or_blocked_user_is_a_guest(self, event: str, payload: dict[str, object]) -> None:
        assert without_revoked(ADA, event, payload) is GUEST

    def test_deleted_membership_takes_the_roles_of_its_team_only(self) -> None:
        left = without_revoked(ADA, "teams.red.memberships.m1.delete", {})
        assert ADA.roles - left.roles == {"team:red", "team:red/owner", "member:m1"}

    def test_updated_membership_takes_the_roles_that_are_gone(self) -> None:
        left = without_revoked(ADA, "teams.red.memberships.m1.update", {"roles": ["viewer"]})
        assert ADA.roles - left.roles == {"team:red/owner"}

    def test_lost_verification_takes_the_roles_of_the_verified(self) -> None:
        verified = msgspec.structs.replace(ADA, roles=ADA.roles | {"users/verified", "user:ada/verified"})
        left = without_revoked(verified, "users.ada.update.verification", {"emailVerification": False})
        assert left.roles == ADA.roles

    def test_ids_may_have_dots(self) -> None:
        john = Identity(
            user_id="john.doe@example.com",
            roles=frozenset({"users", "team:acme.eu", "team:acme.eu/dev", "member:m.1", "team:acme"}),
        )
        left = without_revoked(john, "teams.acme.eu.memberships.m.1.delete", {})
        assert left.roles == {"users", "team:acme"}
        assert without_revoked(john, "teams.acme.eu.delete", {}).roles == {"users", "team:acme", "member:m.1"}
        assert without_revoked(john, "users.john.doe@example.com.delete", {}) is GUEST
        assert without_revoked(john, "users.john.doe@example.com.update.status", {"status": False}) is GUEST
        assert concerned_role("teams.acme.eu.memberships.m.1.delete") == "member:m.1"
        assert may_revoke("users.john.doe@example.com.sessions.s.1.delete")

    def test_deleted_team_takes_its_roles_only(self) -> None:
        left = without_revoked(ADA, "teams.red.delete", {})
        assert ADA.roles - left.roles == {"team:red", "team:red/owner"}

    def test_updated_labels_take_those_that_are_gone(self) -> None:
        left = without_revoked(ADA, "users.ada.update.labels", {"labels": ["vip", "new"]})
        assert ADA.roles - left.roles == {"label:beta"}
        assert left.roles <= ADA.roles

    def test_labels_of_a_wrong_type_take_all(self) -> None:
        left = without_revoked(ADA, "users.ada.update.labels", {"labels": None})
        assert "label:vip" not in left.roles

    @pytest.mark.parametrize(
        ("event", "payload"),
        [
            ("users.ada.update.status", {"status": True}),
            ("users.ada.update.name", {"name": "Ada"}),
            ("users.ada.sessions.s1.create", {}),
            ("teams.red.memberships.m1.update", {"roles": ["owner", "new"]}),
            ("teams.red.memberships.m1.update", {"roles": None}),
            ("teams.red.memberships.m1.create", {"roles": []}),
            ("users.ada.sessions.s1.delete", {}),
            ("users.ada.update.verification", {"emailVerification": False, "phoneVerification": True}),
            ("teams.red.update", {}),
        ],
    )
    def test_other_events_take_nothing(self, event: str, payload: dict[str, object]) -> None:
        assert without_revoked(ADA, event, payload) is ADA

    def test_the_rest_of_the_identity_stays(self) -> None:
        expiring = msgspec.structs.replace(ADA, expires_at=5.0)
        assert without_revoked(expiring, "teams.red.memberships.m1.delete", {}).expires_at == 5.0


class TestMayRevoke:
    @pytest.mark.parametrize(
        "event",
        [
            "users.ada.delete",
            "users.ada.update",
            "users.ada.update.status",
            "users.ada.update.labels",
            "users.ada.update.verification",
            "users.ada.update.email",
            "users.ada.sessions.delete",
            "users.ada.sessions.s1.delete",
            "teams.red.memberships.m1.delete",
            "teams.red.memberships.m1.update",
            "teams.red.memberships.m1.update.status",
            "teams.red.delete",
        ],
    )
    def test_event_that_may_take_roles(self, event: str) -> None:
        assert may_revoke(event)

    @pytest.mark.parametrize(
        "event",
        [
            "users.ada.create",
            "users.ada.update.prefs",
            "users.ada.update.name",
            "users.ada.sessions.s1.create",
            "teams.red.memberships.m1.create",
            "teams.red.update",
            "databases.d.tables.t.rows.r.delete",
        ],
    )
    def test_event_that_takes_none(self, event: str) -> None:
        assert not may_revoke(event)


class TestPreciseName:
    def test_user_update_is_named_with_its_attribute(self) -> None:
        names = expand("users.[userId].update.labels", {"userId": "ada"})
        assert names[0] == "users.ada.update"
        assert precise_name(names) == "users.ada.update.labels"

    @pytest.mark.parametrize(
        ("pattern", "name"),
        [
            ("users.[userId].delete", "users.ada.delete"),
            (
                "teams.[teamId].memberships.[membershipId].update.status",
                "teams.red.memberships.m1.update.status",
            ),
        ],
    )
    def test_others_come_first(self, pattern: str, name: str) -> None:
        assert precise_name(expand(pattern, {"userId": "ada", "teamId": "red", "membershipId": "m1"})) == name

    def test_no_name_is_empty(self) -> None:
        assert precise_name([]) == ""


class TestConcernedRole:
    def test_membership_and_team_are_known_by_their_role(self) -> None:
        assert concerned_role("teams.red.memberships.m1.delete") == "member:m1"
        assert concerned_role("teams.red.delete") == "team:red"

    def test_others_are_not(self) -> None:
        assert concerned_role("teams.red.update") == ""
        assert concerned_role("users.ada.delete") == ""


class TestAnnounces:
    @pytest.mark.parametrize(
        ("event", "lost", "expected"),
        [
            ("teams.red.memberships.m1.delete", {"team:red", "member:m1"}, True),
            ("teams.red.memberships.m1.delete", {"team:blue", "member:m2"}, False),
            # The membership is gone: its deletion is still to be told.
            ("teams.red.memberships.m1.update", {"team:red", "member:m1"}, False),
            ("teams.red.memberships.m1.update.status", {"team:red", "member:m1"}, False),
            ("teams.red.memberships.m1.update", {"team:red/owner"}, True),
            ("teams.red.delete", {"team:red", "member:m1"}, True),
            ("teams.red.delete", {"team:blue", "member:m2"}, False),
            ("users.ada.update.labels", {"label:vip"}, True),
            ("users.ada.update.verification", {"team:red", "member:m1"}, False),
            ("users.ada.update.status", {"users", "team:red", "member:m1"}, True),
            ("users.ada.update.status", set(), True),
            ("users.ada.sessions.s1.delete", {"users", "team:red"}, True),
            ("users.ada.delete", {"users"}, True),
        ],
    )
    def test_loss_is_announced_by_the_event_that_explains_it(
        self, event: str, lost: set[str], expected: bool
    ) -> None:
        assert announces(event, lost) is expected
