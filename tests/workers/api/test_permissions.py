"""Who may do what to an item: every combination of role, place, action and item security."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidPermissionError
from realtime.permissions import roles_of_user
from workers.api.permissions import (
    ITEM_ACTIONS,
    MAX_PERMISSIONS,
    Action,
    are_held,
    default_permissions,
    is_granted,
    may,
    pairs,
    parse_permissions,
)

ACTIONS: tuple[Action, ...] = ("create", "read", "update", "delete")

PEOPLE = {
    "guest": roles_of_user(""),
    "ada": roles_of_user("ada", verified=True, labels=["vip"]),
    "bob": roles_of_user("bob", memberships=[("m1", "red", ["owner"])]),
}

# For each role that a permission can name, the people who hold it.
HOLDERS = {
    "any": {"guest", "ada", "bob"},
    "guests": {"guest"},
    "users": {"ada", "bob"},
    "users/verified": {"ada"},
    "users/unverified": {"bob"},
    "user:ada": {"ada"},
    "user:ada/verified": {"ada"},
    "user:ada/unverified": set(),
    "team:red": {"bob"},
    "team:red/owner": {"bob"},
    "team:red/member": set(),
    "team:blue": set(),
    "member:m1": {"bob"},
    "label:vip": {"ada"},
}


class TestMay:
    @pytest.mark.parametrize("role", HOLDERS)
    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize("place", ["nowhere", "container", "item"])
    @pytest.mark.parametrize("item_security", [False, True])
    def test_each_case_is_decided_by_container_and_item(
        self, role: str, action: Action, place: str, item_security: bool
    ) -> None:
        """The container decides; the item adds to it if there is item security, but never to who may create."""
        granted = [f'{action}("{role}")']
        others = [f'{other}("any")' for other in ACTIONS if other != action]
        for name, roles in PEOPLE.items():
            allowed = may(
                action,
                roles,
                container=others + granted if place == "container" else others,
                item=others + granted if place == "item" else others,
                item_security=item_security,
            )
            counts = place == "container" or (place == "item" and item_security and action != "create")
            assert allowed == (counts and name in HOLDERS[role]), name

    def test_write_grants_what_it_stands_for(self) -> None:
        """``write`` at a container is create, update and delete."""
        granted = [
            action for action in ACTIONS if may(action, frozenset({"users"}), container=['write("users")'])
        ]
        assert granted == ["create", "update", "delete"]


class TestIsGranted:
    @given(
        st.lists(
            st.sampled_from([f'{a}("{r}")' for a, r in itertools.product(ACTIONS, HOLDERS)]), max_size=6
        ),
        st.sampled_from(sorted(PEOPLE)),
        st.sampled_from(ACTIONS),
    )
    def test_some_permission_names_a_role_that_is_held(
        self, permissions: Sequence[str], person: str, action: Action
    ) -> None:
        expected = any(f'{action}("{role}")' in permissions for role in HOLDERS if person in HOLDERS[role])
        assert is_granted(action, permissions, PEOPLE[person]) == expected


class TestParsePermissions:
    def test_write_is_taken_apart_without_create(self) -> None:
        """Nobody creates an item that is there already."""
        assert parse_permissions(['read("any")', 'write("users")']) == [
            'read("any")', 'update("users")', 'delete("users")',
        ]  # fmt: skip

    def test_repeated_ones_are_kept_once(self) -> None:
        assert parse_permissions(['update("any")', 'read("any")', 'write("any")']) == [
            'update("any")', 'read("any")', 'delete("any")',
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "given",
        [
            'read("any")',
            {"read": "any"},
            [1],
            [None],
            ["read"],
            ['read("nobody")'],
            ['create("any")'],
            ['read("any")'] * (MAX_PERMISSIONS + 1),
        ],
    )
    def test_malformed_ones_are_refused(self, given: object) -> None:
        with pytest.raises(InvalidPermissionError):
            parse_permissions(given)

    def test_as_many_as_allowed_are_taken(self) -> None:
        given = [f'read("user:u{number}")' for number in range(MAX_PERMISSIONS)]
        assert parse_permissions(given) == given


class TestDefaultPermissions:
    def test_creator_may_read_update_and_delete(self) -> None:
        assert default_permissions("ada") == ['read("user:ada")', 'update("user:ada")', 'delete("user:ada")']
        assert are_held(default_permissions("ada"), PEOPLE["ada"])

    def test_nobody_gets_any_without_a_user(self) -> None:
        assert default_permissions("") == []


class TestAreHeld:
    @pytest.mark.parametrize("role", HOLDERS)
    @pytest.mark.parametrize("person", PEOPLE)
    def test_a_role_can_be_granted_by_who_holds_it(self, role: str, person: str) -> None:
        permissions = ['read("any")', f'update("{role}")']
        assert are_held(permissions, PEOPLE[person]) == (person in HOLDERS[role])


class TestPairs:
    def test_permissions_are_parted_as_sql_has_them(self) -> None:
        permissions = [f'{action}("team:red/owner")' for action in ITEM_ACTIONS]
        assert pairs(permissions) == [(action, "team:red/owner") for action in ITEM_ACTIONS]
