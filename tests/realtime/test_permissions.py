from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidPermissionError
from realtime.permissions import Permission, Role, is_valid_id, read_roles, roles_of_user, validate_role

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,35}", fullmatch=True)
roles = st.one_of(
    st.sampled_from(["any", "guests", "users", "users/verified", "users/unverified"]),
    st.builds("user:{}{}".format, ids, st.sampled_from(["", "/verified", "/unverified"])),
    st.builds("team:{}".format, ids),
    st.builds("team:{}/{}".format, ids, ids),
    st.builds("member:{}".format, ids),
    st.builds("label:{}".format, ids),
)

MALFORMED_ROLES = [
    "",
    " any",
    "Any",
    "any:",
    "any/",
    "any/verified",
    "guests:x",
    "guests/verified",
    "users:U",
    "users/",
    "users/admin",
    "user",
    "user:",
    "user:/verified",
    "user:U/",
    "user:U/owner",
    "user:U/verified/verified",
    "user:U V",
    "user:-U",
    'user:U"',
    "user:*",
    "user:U\n",
    "team",
    "team:",
    "team:T/",
    "team:T/a/b",
    "team:T:x",
    "member:M/owner",
    "member:",
    "label:",
    "label:a/b",
    "keys",
    "owner:x",
    "user:" + "x" * 256,
]


class TestIsValidId:
    @pytest.mark.parametrize("text", ["a", "0", "63c98b9baea0938e1206", "a.b_c-d", "auth0|62f1", "x" * 255])
    def test_id_returns_true(self, text: str) -> None:
        assert is_valid_id(text)

    @pytest.mark.parametrize("text", ["", "*", ".a", "_a", "-a", "a/b", "a b", "a\n", "ä", "[a]", "x" * 256])
    def test_anything_else_returns_false(self, text: str) -> None:
        assert not is_valid_id(text)


class TestRole:
    @pytest.mark.parametrize(
        ("text", "role"),
        [
            ("any", Role("any")),
            ("guests", Role("guests")),
            ("users", Role("users")),
            ("users/verified", Role("users", "", "verified")),
            ("user:U", Role("user", "U")),
            ("user:U/unverified", Role("user", "U", "unverified")),
            ("team:T", Role("team", "T")),
            ("team:T/owner", Role("team", "T", "owner")),
            ("member:M", Role("member", "M")),
            ("label:vip", Role("label", "vip")),
        ],
    )
    def test_known_form_is_taken_apart(self, text: str, role: Role) -> None:
        assert Role.parse(text) == role

    @given(roles)
    def test_str_is_the_text_it_was_parsed_from(self, text: str) -> None:
        assert str(Role.parse(text)) == text

    @pytest.mark.parametrize("text", MALFORMED_ROLES)
    def test_unknown_form_raises(self, text: str) -> None:
        with pytest.raises(InvalidPermissionError, match="is not valid"):
            Role.parse(text)

    @pytest.mark.parametrize("value", [None, 1, ["any"], b"any"])
    def test_no_string_raises(self, value: Any) -> None:
        with pytest.raises(InvalidPermissionError, match="A role is a string"):
            Role.parse(value)

    @given(st.text(max_size=30))
    def test_any_text_round_trips_or_raises(self, text: str) -> None:
        try:
            role = Role.parse(text)
        except InvalidPermissionError:
            return
        assert str(role) == text

    def test_long_text_is_cut_in_the_message(self) -> None:
        with pytest.raises(InvalidPermissionError) as caught:
            Role.parse("x" * 10_000)
        assert len(str(caught.value)) < 400


class TestValidateRole:
    @given(roles)
    def test_role_is_returned(self, text: str) -> None:
        assert validate_role(text) == text

    @pytest.mark.parametrize("text", MALFORMED_ROLES)
    def test_unknown_form_raises(self, text: str) -> None:
        with pytest.raises(InvalidPermissionError):
            validate_role(text)


class TestPermission:
    @pytest.mark.parametrize("action", ["read", "create", "update", "delete"])
    def test_action_gives_one_permission(self, action: str) -> None:
        (permission,) = Permission.parse(f'{action}("user:1/verified")')
        assert permission == Permission(action, Role("user", "1", "verified"))
        assert str(permission) == f'{action}("user:1/verified")'

    def test_write_is_an_alias_for_three(self) -> None:
        assert [str(permission) for permission in Permission.parse('write("team:T")')] == [
            'create("team:T")',
            'update("team:T")',
            'delete("team:T")',
        ]

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "read",
            "read()",
            'read("")',
            "read('any')",
            'read("any"',
            'own("any")',
            'read("any") ',
            ' read("any")',
        ],
    )
    def test_malformed_raises(self, text: str) -> None:
        with pytest.raises(InvalidPermissionError, match="is not valid"):
            Permission.parse(text)

    def test_malformed_role_raises(self) -> None:
        with pytest.raises(InvalidPermissionError, match="Role `user:` is not valid"):
            Permission.parse('read("user:")')


class TestReadRoles:
    def test_roles_come_in_order_and_once(self) -> None:
        permissions = [
            'read("team:T/owner")',
            'update("user:U")',
            'read("any")',
            'write("label:a")',
            'read("team:T/owner")',
        ]
        assert read_roles(permissions) == ["team:T/owner", "any"]

    def test_no_permission_gives_no_role(self) -> None:
        assert read_roles([]) == []

    @pytest.mark.parametrize("bad", ["read(any)", 'write("nobody")', 7, None, {}])
    def test_malformed_raises_whatever_its_action(self, bad: Any) -> None:
        with pytest.raises(InvalidPermissionError):
            read_roles(['read("any")', bad])

    @given(st.lists(st.tuples(st.sampled_from(["read", "update", "write"]), roles), max_size=6))
    def test_agrees_with_plain_reading(self, permissions: list[tuple[str, str]]) -> None:
        expected: list[str] = []
        for action, role in permissions:
            if action == "read" and role not in expected:
                expected.append(role)
        assert read_roles(f'{action}("{role}")' for action, role in permissions) == expected


class TestRolesOfUser:
    def test_nobody_is_exactly_a_guest(self) -> None:
        held = roles_of_user("", verified=True, memberships=[("M", "T", ["owner"])], labels=["a"])
        assert held == {"guests"}

    def test_unverified_user(self) -> None:
        assert roles_of_user("U") == {"user:U", "users", "user:U/unverified", "users/unverified"}

    def test_membership_without_an_id_gives_no_member_role(self) -> None:
        assert roles_of_user("U", memberships=[("", "T", [])]) - roles_of_user("U") == {"team:T"}

    def test_verified_member_with_labels(self) -> None:
        held = roles_of_user(
            "U", verified=True, memberships=[("M", "T", ["owner", "dev"]), ("N", "S", [])], labels=["vip"]
        )
        assert held == {
            "user:U",
            "users",
            "user:U/verified",
            "users/verified",
            "team:T",
            "member:M",
            "team:T/owner",
            "team:T/dev",
            "team:S",
            "member:N",
            "label:vip",
        }

    @pytest.mark.parametrize("user_id", ["", "U"])
    def test_any_is_never_held(self, user_id: str) -> None:
        assert "any" not in roles_of_user(user_id)

    @given(
        ids,
        st.booleans(),
        st.lists(st.tuples(ids, ids, st.lists(ids, max_size=3)), max_size=3),
        st.lists(ids, max_size=3),
    )
    def test_every_role_is_one_that_events_can_name(
        self, user: str, verified: bool, memberships: list[tuple[str, str, list[str]]], labels: list[str]
    ) -> None:
        for role in roles_of_user(user, verified=verified, memberships=memberships, labels=labels):
            assert validate_role(role) == role
