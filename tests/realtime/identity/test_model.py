import msgspec

from realtime.identity.model import GUEST, ApiKey, Identity, Membership, Session, User


class TestUserRoles:
    def test_confirmed_memberships_and_labels_give_roles(self) -> None:
        user = User(
            "u",
            phone_verified=True,
            labels=("vip",),
            memberships=(
                Membership("m1", "t1", ("owner",)),
                Membership("m2", "t2", ("dev",), confirmed=False),
            ),
        )
        assert user.roles() == {
            "user:u",
            "users",
            "user:u/verified",
            "users/verified",
            "team:t1",
            "member:m1",
            "team:t1/owner",
            "label:vip",
        }

    def test_blocked_user_is_a_guest(self) -> None:
        assert User("u", active=False, labels=("vip",)).roles() == GUEST.roles == {"guests"}

    def test_membership_without_id_gives_no_member_role(self) -> None:
        roles = User("u", memberships=(Membership("", "t"),)).roles()
        assert "team:t" in roles
        assert not any(role.startswith("member:") for role in roles)


class TestApiKey:
    def test_star_allows_every_scope(self) -> None:
        assert ApiKey("k", scopes=("*",)).allows("events.write")
        assert ApiKey("k", scopes=("events.write",)).allows("events.write")
        assert not ApiKey("k", scopes=("events.write",)).allows("rows.read")


class TestIdentity:
    def test_actor_is_who_showed_the_credential(self) -> None:
        assert Identity(frozenset(), user_id="u").actor_id == "u"
        assert Identity(frozenset(), user_id="u", impersonator_id="admin").actor_id == "admin"
        assert GUEST.actor_id == ""


class TestRecords:
    def test_user_survives_json(self) -> None:
        user = User("u", sessions=(Session("s", "h", "email", 1.5),), account={"prefs": {"a": [1]}})
        assert msgspec.json.decode(msgspec.json.encode(user), type=User) == user
