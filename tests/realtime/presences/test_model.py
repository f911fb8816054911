"""What a presence consists of, and what may be asked for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidPermissionError, PresenceExistsError, PresenceInvalidError
from realtime.events.event import Acting, decode_data, decode_live
from realtime.presences import model
from realtime.presences.model import Draft, Presence, upserted

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
NOW_TEXT = "2026-01-02T03:04:05.678+00:00"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def draft(**members: Any) -> Draft:
    fields: dict[str, Any] = {
        "presence_id": "p1",
        "user_id": "ada",
        "status": "on",
        "permissions": ('read("any")', 'update("user:ada")'),
        "metadata": {},
        "source": "rest",
        "lifetime": timedelta(minutes=15),
    }
    return Draft(**(fields | members))


def made(**members: Any) -> Presence:
    return upserted(draft(**members), None, number=1, now=NOW)


class TestUpserted:
    def test_first_one_begins_now(self) -> None:
        presence = made()
        assert (presence.id, presence.sequence, presence.version) == ("p1", 1, 1)
        assert presence.created_at == presence.updated_at == NOW_TEXT
        assert presence.expires_at == "2026-01-02T03:19:05.678+00:00"

    def test_next_one_keeps_id_and_beginning(self) -> None:
        later = NOW + timedelta(minutes=1)
        changed = draft(presence_id="p2", status="away", source="realtime")
        presence = upserted(changed, made(), number=7, now=later)

        assert (presence.id, presence.sequence, presence.version) == ("p1", 1, 7)
        assert (presence.status, presence.source) == ("away", "realtime")
        assert (presence.created_at, presence.updated_at) == (NOW_TEXT, "2026-01-02T03:05:05.678+00:00")

    def test_end_that_is_named_is_kept(self) -> None:
        assert made(lifetime=None, expires_at="2026-02-01T00:00:00.000+00:00").expires_at.startswith(
            "2026-02"
        )

    def test_change_is_dated(self) -> None:
        presence = model.updated(made(), number=9, now=NOW + timedelta(seconds=1))
        assert (presence.updated_at, presence.version) == ("2026-01-02T03:04:06.678+00:00", 9)

    def test_it_is_said_who_set_it_last(self) -> None:
        by_function = upserted(draft(), None, number=1, now=NOW, by=Acting("ben", 3))
        assert (by_function.actor_id, by_function.depth) == ("ben", 3)
        assert by_function.set_by == Acting("ben", 3)
        assert model.updated(by_function, number=2, now=NOW).set_by == Acting("", 0)


class TestPresence:
    def test_it_is_over_at_its_end(self) -> None:
        end = NOW + timedelta(minutes=15)
        assert not made().is_over(end - timedelta(milliseconds=1))
        assert made().is_over(end)

    @pytest.mark.parametrize(
        ("action", "roles", "granted"),
        [
            ("read", {"guests"}, True),
            ("update", {"user:ada", "users"}, True),
            ("update", {"user:bob", "users"}, False),
            ("delete", {"user:ada"}, False),
        ],
    )
    def test_permissions_decide_who_may(self, action: str, roles: set[str], granted: bool) -> None:
        assert made().is_granted(action, roles) is granted

    def test_model_has_the_members_of_the_specification(self) -> None:
        assert model.presence_model(made(metadata={"x": 1})) == {
            "$id": "p1",
            "$createdAt": NOW_TEXT,
            "$updatedAt": NOW_TEXT,
            "$permissions": ['read("any")', 'update("user:ada")'],
            "userId": "ada",
            "status": "on",
            "source": "rest",
            "expiresAt": "2026-01-02T03:19:05.678+00:00",
            "metadata": {"x": 1},
        }

    def test_event_is_for_its_readers(self) -> None:
        live = decode_live(model.encode_presence_event(made(), "upsert", "demo", now=NOW))
        data = decode_data(live.data)
        assert (live.project, live.roles) == ("demo", ["any"])
        assert data.events[0] == "presences.p1.upsert"
        assert data.timestamp == NOW_TEXT
        assert orjson.loads(bytes(data.payload)) == model.presence_model(made())

    @given(JSON)
    def test_record_keeps_everything(self, metadata: Any) -> None:
        presence = made(metadata=metadata)
        record = model.encode_record(presence)
        assert record.startswith(b"1 {")
        assert model.decode_record(record) == presence

    def test_times_are_milliseconds(self) -> None:
        assert model.unix_ms(NOW_TEXT) == 1_767_323_045_678


class TestPermissions:
    def test_own_ones_are_the_default(self) -> None:
        expected = ('read("user:ada")', 'update("user:ada")', 'delete("user:ada")')
        assert model.default_permissions("ada") == expected
        assert model.expand_permissions([*expected, 'write("user:ada")']) == expected

    def test_write_is_taken_apart_and_each_stands_once(self) -> None:
        given = ['read("any")', 'write("users")', 'read("any")', 'delete("users")']
        assert model.expand_permissions(given) == ('read("any")', 'update("users")', 'delete("users")')

    @pytest.mark.parametrize("given", [['create("any")'], ['read("x:y")'], ["read"], ['read("any")'] * 101])
    def test_bad_ones_are_refused(self, given: list[str]) -> None:
        with pytest.raises(InvalidPermissionError):
            model.expand_permissions(given)

    def test_role_of_others_is_found(self) -> None:
        assert model.find_unheld(['read("any")', 'update("users")'], {"users"}) is None
        assert model.find_unheld(['read("users")', 'read("team:red")'], {"users"}) == "team:red"

    def test_refusal_names_what_is_held(self) -> None:
        assert model.explain_unheld({"users", "label:a"}) == (
            "Permissions must be one of: (any, label:a, users)"
        )
        many = model.explain_unheld({f"label:{number:03}" for number in range(200)})
        assert many.endswith("label:048, ...)")


class TestLimits:
    def test_metadata_has_a_size(self) -> None:
        model.check_metadata({"x": "y" * 92}, max_bytes=100)
        with pytest.raises(PresenceInvalidError, match="at most 100 bytes of JSON"):
            model.check_metadata({"x": "y" * 93}, max_bytes=100)

    @pytest.mark.parametrize(("levels", "fits"), [(0, True), (32, True), (33, False)])
    @pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"x": inner}])
    def test_metadata_has_a_depth(self, levels: int, fits: bool, wrap: Any) -> None:
        metadata: Any = 1
        for _ in range(levels):
            metadata = wrap(metadata)
        if fits:
            model.check_metadata(metadata, max_bytes=1000)
        else:
            with pytest.raises(PresenceInvalidError, match="at most 32 levels"):
                model.check_metadata(metadata, max_bytes=1000)

    @pytest.mark.parametrize("metadata", [2**70, {"x": "\ud800"}, {1: 2}])
    def test_what_is_no_json_is_refused(self, metadata: Any) -> None:
        with pytest.raises(PresenceInvalidError, match="metadata"):
            model.check_metadata(metadata, max_bytes=1000)

    @pytest.mark.parametrize("status", ["", "x" * 256, "a\ud800b"])
    def test_bad_status_is_refused(self, status: str) -> None:
        with pytest.raises(PresenceInvalidError, match="status") as caught:
            model.check_status(status)
        assert caught.value.name == "status"

    @pytest.mark.parametrize("status", ["x", "x" * 255, "😀"])
    def test_good_status_is_taken(self, status: str) -> None:
        model.check_status(status)

    def test_id_that_is_taken_is_named(self) -> None:
        assert str(PresenceExistsError("p1")).startswith(
            "Presence with the requested ID 'p1' already exists."
        )
