"""A room knows whose changes concern which connection, and which losses are still to be told."""

from collections.abc import Callable

import pytest

from realtime.hub.connection import Connection
from realtime.hub.room import Former, Room
from realtime.identity.model import GUEST, Identity, Project

ROLES = frozenset({"user:ada"})


@pytest.fixture
def room() -> Room:
    return Room(Project(id="demo"))


def connection(identity: Identity = GUEST) -> Connection:
    made = Connection(NoWire(), "192.0.2.1")
    made.identity = identity
    return made


class NoWire:
    """Nothing is sent here."""

    buffered_bytes = 0

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.send

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str = "") -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class TestIsEmpty:
    def test_connection_or_pin_needs_the_room(self, room: Room) -> None:
        observed = [room.is_empty]
        room.pins = 1
        observed.append(room.is_empty)
        room.pins = 0
        room.connections[connection()] = None
        observed.append(room.is_empty)
        assert observed == [True, False, False]


class TestLink:
    def test_guest_is_nobodys(self, room: Room) -> None:
        room.link(connection())
        assert room.users == {}

    def test_impersonation_concerns_both(self, room: Room) -> None:
        impersonating = connection(
            Identity(roles=ROLES, user_id="bob", impersonated=True, impersonator_id="ada")
        )
        room.link(impersonating)
        assert set(room.users) == {"ada", "bob"}
        room.unlink(impersonating)
        assert room.users == {}

    def test_connections_of_one_user_are_told_apart(self, room: Room) -> None:
        first, second = (connection(Identity(roles=ROLES, user_id="ada")) for _ in range(2))
        room.link(first)
        room.link(second)
        room.unlink(first)
        assert list(room.users["ada"]) == [second]


class TestFormer:
    def test_lost_roles_are_taken_once(self, room: Room) -> None:
        former = Former(connection(), ROLES, until=10.0)
        room.remember_former("ada", former)
        assert room.take_former("bob", now=0.0) == []
        assert room.take_former("ada", now=10.0) == [former]
        assert room.take_former("ada", now=10.0) == []

    def test_lost_roles_are_forgotten_in_time(self, room: Room) -> None:
        room.remember_former("ada", Former(connection(), ROLES, until=10.0))
        room.forget_former(now=10.0)
        assert "ada" in room.former
        assert room.take_former("ada", now=10.1) == []
        room.remember_former("ada", Former(connection(), ROLES, until=10.0))
        room.forget_former(now=10.1)
        assert room.former == {}

    def test_who_lost_a_role_lately_is_known_until_they_are_told(self, room: Room) -> None:
        room.remember_former("ada", Former(connection(), ROLES, until=10.0))
        (role, *_) = ROLES
        assert room.losers_of(role) == {"ada"}
        assert room.losers_of("team:other") == set()
        assert room.losers_of("") == set()
        room.take_former("ada", now=0.0)
        assert room.losers_of(role) == set()


class TestAnnounced:
    @pytest.fixture
    def known(self, room: Room) -> Room:
        room.link(connection(Identity(roles=ROLES, user_id="ada")))
        return room

    def test_announcement_of_somebody_who_is_not_here_is_not_kept(self, room: Room) -> None:
        room.remember_announced("ada", now=0.0)
        assert room.announced == {}

    def test_loss_that_was_announced_before_needs_no_second_announcement(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        known.remember_former("ada", Former(connection(), ROLES, until=9.0))
        known.settle_announced("ada", now=4.9)
        assert (known.former, known.announced) == ({}, {})

    def test_announcement_is_good_for_one_loss(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        for _ in range(2):
            known.remember_former("ada", Former(connection(), ROLES, until=9.0))
            known.settle_announced("ada", now=4.9)
        assert len(known.former["ada"]) == 1

    def test_change_without_a_loss_leaves_the_announcement_for_the_next(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        known.settle_announced("ada", now=1.0)
        assert known.announced == {"ada": 5.0}

    def test_announcement_that_is_too_old_does_not_count(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        known.remember_former("ada", Former(connection(), ROLES, until=9.0))
        known.settle_announced("ada", now=5.0)
        assert "ada" in known.former

    def test_announcement_is_forgotten_in_time(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        known.forget_former(now=5.0)
        assert known.announced == {"ada": 5.0}
        known.forget_former(now=5.1)
        assert known.announced == {}

    def test_event_after_its_change_announces_nothing_that_is_to_come(self, known: Room) -> None:
        """A publisher that changes people first has been heard: whatever is lost next is announced next."""
        known.settle_announced("ada", now=0.0)
        known.remember_announced("ada", now=1.0)
        known.remember_former("ada", Former(connection(), ROLES, until=9.0))
        known.settle_announced("ada", now=2.0)
        assert "ada" in known.former

    def test_change_that_is_long_past_belongs_to_no_event(self, known: Room) -> None:
        known.settle_announced("ada", now=0.0)
        known.forget_former(now=5.0)
        assert known.changed == {"ada": 5.0}
        known.remember_announced("ada", now=5.0)
        assert known.announced == {"ada": 10.0}
        known.forget_former(now=5.1)
        assert known.changed == {}

    def test_change_of_somebody_who_is_not_here_is_not_kept(self, room: Room) -> None:
        room.settle_announced("ada", now=0.0)
        assert room.changed == {}

    def test_change_that_was_announced_is_no_sign_of_changing_first(self, known: Room) -> None:
        known.remember_announced("ada", now=0.0)
        known.settle_announced("ada", now=1.0)
        assert known.changed == {}
