import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidEventError, InvalidPermissionError
from realtime.events.event import (
    Envelope,
    Event,
    EventData,
    IdentityChange,
    LiveMessage,
    decode_data,
    decode_live,
    format_timestamp,
    prepare,
)

NOW = datetime(2026, 8, 1, 12, 30, 4, 51_999, tzinfo=UTC)
ROW = "databases.D.tables.T.rows.R.create"


def envelopes(event: Event, project: str = "P", team: str = "") -> list[dict[str, Any]]:
    return [json.loads(prepared.envelope) for prepared in prepare(event, project, now=NOW, project_team=team)]


def envelope(event: Event) -> dict[str, Any]:
    (only,) = envelopes(event)
    return only


class TestPrepare:
    def test_envelope_is_compact_json_in_the_order_of_the_specification(self) -> None:
        (prepared,) = prepare(Event("teams.T.delete", {"$id": "T", "name": "Ä/ö"}), "P", now=NOW)
        assert (
            prepared.envelope
            == (
                '{"project":"P","roles":["team:T"],"permissionsChanged":false,"userId":null,"data":{'
                '"events":["teams.T.delete","teams.*.delete","teams.T","teams.*"],'
                '"channels":["teams","teams.T","teams.delete","teams.T.delete"],'
                '"timestamp":"2026-08-01T12:30:04.051+00:00",'
                '"payload":{"$id":"T","name":"Ä/ö"}}}'
            ).encode()
        )

    def test_prepared_tells_what_the_envelope_holds(self) -> None:
        (prepared,) = prepare(Event(ROW, {"$permissions": ['read("any")']}), "P", now=NOW)
        content = json.loads(prepared.envelope)
        assert prepared.project == content["project"] == "P"
        assert prepared.roles == content["roles"] == ["any"]
        assert prepared.events == content["data"]["events"]
        assert prepared.channels == content["data"]["channels"]
        assert len(prepared.events) == 42
        assert len(prepared.channels) == 16

    def test_pattern_with_params(self) -> None:
        content = envelope(Event("teams.[teamId].create", {}, {"teamId": "a.b", "userId": "U"}))
        assert content["data"]["events"][0] == "teams.a.b.create"
        assert content["userId"] == "U"
        assert content["permissionsChanged"] is True

    def test_pattern_without_params_raises(self) -> None:
        with pytest.raises(InvalidEventError, match=r"^\[teamId\] is missing from the params\.$"):
            envelopes(Event("teams.[teamId].create", {}))

    def test_params_beside_a_concrete_name_add_to_it(self) -> None:
        """They can not contradict the name."""
        content = envelope(Event("teams.T.create", {}, {"userId": "U", "teamId": "other"}))
        assert content["data"]["events"][0] == "teams.T.create"
        assert content["userId"] == "U"

    def test_event_without_readers_is_prepared(self) -> None:
        assert envelope(Event(ROW, {}))["roles"] == []

    def test_event_without_channels_is_prepared(self) -> None:
        content = envelope(Event("buckets.B.create", {}))
        assert content["data"]["channels"] == []
        assert content["data"]["events"] == ["buckets.B.create", "buckets.*.create", "buckets.B", "buckets.*"]

    @pytest.mark.parametrize(
        ("database_type", "first", "count"),
        [
            (None, "databases.D.tables.T.rows.R.create", 42),
            ("legacy", "databases.D.tables.T.rows.R.create", 42),
            ("tablesdb", "tablesdb.D.tables.T.rows.R.create", 64),
        ],
    )
    def test_name_is_told_in_the_words_of_the_database(
        self, database_type: str | None, first: str, count: int
    ) -> None:
        events = envelope(Event(ROW, {}, database_type=database_type))["data"]["events"]
        assert (events[0], len(events)) == (first, count)

    def test_channels_follow_the_type_of_the_database(self) -> None:
        name = "databases.D.collections.C.documents.X.create"
        data = envelope(Event(name, {}, database_type="vectorsdb"))["data"]
        assert data["events"][0] == "vectorsdb.D.collections.C.documents.X.create"
        assert data["channels"][1] == "vectorsdb.D.collections.C.documents"

    @pytest.mark.parametrize("project", ["", "a b"])
    def test_project_that_is_no_id_raises(self, project: str) -> None:
        with pytest.raises(InvalidEventError):
            envelopes(Event("teams.T.create", {}), project)

    def test_malformed_role_raises(self) -> None:
        with pytest.raises(InvalidPermissionError):
            envelopes(Event("teams.T.create", {}, roles=["nobody"]))


class TestPayload:
    def test_bytes_go_out_as_they_are(self) -> None:
        text = b'{ "b": 1.50, "a": {}, "n": 12345678901234567890 }'
        (prepared,) = prepare(Event("teams.T.create", text), "P", now=NOW)
        assert b'"payload":' + text + b"}}" in prepared.envelope

    def test_bytes_decide_about_channels_and_readers(self) -> None:
        content = envelope(Event(ROW, b'{"$tableId": "C", "$permissions": ["read(\\"any\\")"]}'))
        assert content["roles"] == ["any"]
        assert "databases.D.tables.C.rows.R" in content["data"]["channels"]

    @pytest.mark.parametrize("payload", [{"a": 1, "secret": 2, "b": 3}, b'{"a": 1, "secret": 2, "b": 3}'])
    def test_sensitive_members_are_removed(self, payload: dict[str, Any] | bytes) -> None:
        event = Event("teams.T.create", payload, sensitive=["secret", "absent"])
        assert envelope(event)["data"]["payload"] == {"a": 1, "b": 3}

    def test_sensitive_member_does_not_remove_nested_ones(self) -> None:
        event = Event("teams.T.create", {"a": {"secret": 1}}, sensitive=["secret"])
        assert envelope(event)["data"]["payload"] == {"a": {"secret": 1}}

    @pytest.mark.parametrize(
        "payload", [b"", b"{", b"[]", b"null", b'{"a":"\xff"}', b'{"a":"\n"}', b'{"a":NaN}']
    )
    def test_bytes_that_are_no_json_object_raise(self, payload: bytes) -> None:
        with pytest.raises(InvalidEventError, match="The payload is not"):
            envelopes(Event("teams.T.create", payload))

    def test_payload_nested_too_deeply_raises_in_either_form(self) -> None:
        deep = b'{"a":%s%s}' % (b"[" * 300, b"]" * 300)
        for payload in (deep, json.loads(deep)):
            with pytest.raises(InvalidEventError, match="The payload is not JSON: Recursion limit"):
                envelopes(Event("teams.T.create", payload))

    def test_payload_of_many_brackets_side_by_side_is_no_deep_one(self) -> None:
        wide = b'{"a":[%s]}' % b",".join([b"[]"] * 1000)
        assert envelope(Event("teams.T.create", wide))["data"]["payload"] == json.loads(wide)

    @pytest.mark.parametrize("payload", [{"a": object()}, {1: 2}, {"a": "\ud800"}, {"a": 2**70}])
    def test_mapping_that_is_not_json_raises(self, payload: dict[str, Any]) -> None:
        with pytest.raises(InvalidEventError, match="The payload is not JSON"):
            envelopes(Event("teams.T.create", payload))

    @given(
        st.dictionaries(
            st.text(max_size=5),
            st.recursive(
                st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
                ),
                max_leaves=5,
            ),
            max_size=4,
        )
    )
    def test_payload_survives(self, payload: dict[str, Any]) -> None:
        event = Event("teams.T.create", payload)
        as_bytes = Event("teams.T.create", json.dumps(payload, ensure_ascii=False).encode())
        assert envelope(event) == envelope(as_bytes)
        assert envelope(event)["data"]["payload"] == payload


class TestSubject:
    @pytest.mark.parametrize(
        ("event", "subject"),
        [
            (Event("users.U.update.email", {}), "U"),
            (Event("users.U.sessions.S.create", {"userId": "V"}), "U"),
            (Event("teams.T.memberships.M.create", {"userId": "V"}), "V"),
            (Event("teams.T.memberships.M.create", {"userId": "V"}, {"userId": "W"}), "W"),
            (Event("teams.T.memberships.M.create", {"userId": "V"}, user_id="X"), "X"),
            (Event("teams.T.memberships.M.create", {}), None),
            (Event("teams.T.memberships.M.create", {"userId": ""}), None),
            (Event("teams.T.memberships.M.create", {"userId": 7}), None),
            (Event("teams.T.create", {"userId": "V"}), None),
            (Event("presences.N.upsert", {"userId": "V"}), None),
        ],
    )
    def test_subject_is_found(self, event: Event, subject: str | None) -> None:
        assert envelope(event)["userId"] == subject

    @pytest.mark.parametrize("user_id", ["", "a b", "\ud800"])
    def test_subject_that_is_no_id_raises(self, user_id: str) -> None:
        with pytest.raises(InvalidEventError, match="user"):
            envelopes(Event("teams.T.create", {}, user_id=user_id))


class TestTargets:
    def test_console_event_is_in_both_logs_and_read_by_the_team_alone(self) -> None:
        own, console = envelopes(Event("rules.R.create", {}), team="PT")
        assert (own["project"], own["roles"]) == ("P", [])
        assert (console["project"], console["roles"]) == ("console", ["team:PT"])
        assert own["data"] == console["data"]
        assert own["data"]["channels"] == ["console", "projects.P"]

    def test_without_a_team_nobody_watches_from_a_console(self) -> None:
        (own,) = envelopes(Event("rules.R.create", {}))
        assert (own["project"], own["roles"]) == ("P", [])

    def test_readers_that_are_named_read_in_the_project(self) -> None:
        own, console = envelopes(Event("rules.R.create", {}, roles=["users"]), team="PT")
        assert (own["project"], own["roles"]) == ("P", ["users"])
        assert (console["project"], console["roles"]) == ("console", ["team:PT"])

    def test_finished_execution_is_for_its_readers_and_for_the_team(self) -> None:
        event = Event("functions.F.executions.E.update", {"$permissions": ['read("user:U")']})
        own, console = envelopes(event, team="PT")
        assert (own["project"], own["roles"]) == ("P", ["user:U"])
        assert (console["project"], console["roles"]) == ("console", ["team:PT"])

    def test_report_is_for_the_team_in_the_project(self) -> None:
        (own,) = envelopes(Event("reports.R.create", {}), team="PT")
        assert (own["project"], own["roles"]) == ("P", ["team:PT"])

    def test_event_of_the_console_itself_is_published_once(self) -> None:
        (own,) = envelopes(Event("projects.Q.ping", {}), "console", "PT")
        assert (own["project"], own["roles"]) == ("console", ["team:PT"])


class TestFormatTimestamp:
    @pytest.mark.parametrize(
        ("timestamp", "expected"),
        [
            (None, "2026-08-01T12:30:04.051+00:00"),
            ("2023-01-19 18:30:04.051", "2023-01-19T18:30:04.051+00:00"),
            ("2023-01-19T18:30:04Z", "2023-01-19T18:30:04.000+00:00"),
            ("2023-01-19T18:30:04.0519+02:00", "2023-01-19T16:30:04.051+00:00"),
            ("2023-01-19", "2023-01-19T00:00:00.000+00:00"),
        ],
    )
    def test_time_is_utc_with_milliseconds(self, timestamp: str | None, expected: str) -> None:
        assert format_timestamp(timestamp, NOW) == expected

    def test_other_zones_become_utc(self) -> None:
        now = NOW.astimezone(timezone(timedelta(hours=-7)))
        assert format_timestamp(None, now) == "2026-08-01T12:30:04.051+00:00"

    @pytest.mark.parametrize("timestamp", ["", "now", "2023-13-01", "0001-01-01T00:00:00+14:00"])
    def test_anything_else_raises(self, timestamp: str) -> None:
        with pytest.raises(InvalidEventError, match="ISO 8601"):
            format_timestamp(timestamp, NOW)

    def test_event_brings_its_own(self) -> None:
        content = envelope(Event("teams.T.create", {}, timestamp="2023-01-19T18:30:04Z"))
        assert content["data"]["timestamp"] == "2023-01-19T18:30:04.000+00:00"


class TestDecodeLive:
    def test_what_was_prepared_is_read_back(self) -> None:
        (prepared,) = prepare(Event("users.U.create", {"$id": "U"}), "P", now=NOW)
        live = decode_live(b'{"id":"17-0",' + prepared.envelope[1:])
        assert (live.id, live.project, live.roles) == ("17-0", "P", ["user:U"])
        assert (live.permissions_changed, live.user_id, live.identity) == (False, "U", None)
        data = decode_data(live.data)
        assert data.events == prepared.events
        assert data.channels == prepared.channels
        assert bytes(data.payload) == b'{"$id":"U"}'
        assert prepared.envelope.endswith(bytes(live.data) + b"}")

    def test_envelope_of_appwrite_is_tolerated(self) -> None:
        """Wire specification 9.2: missing and unknown members, an empty payload written as a list."""
        live = decode_live(
            b'{"project":"P","roles":["any"],"query":[],"data":{"events":["teams.T.create"],'
            b'"channels":["teams"],"timestamp":"2026-08-01T12:30:04.051+00:00","payload":[],"x":1}}'
        )
        assert (live.id, live.permissions_changed, live.user_id) == ("", False, None)
        assert bytes(decode_data(live.data).payload) == b"[]"

    def test_change_of_an_identity_has_no_data(self) -> None:
        live = decode_live(b'{"id":"17-0","identity":{"user":"U"}}')
        assert live == LiveMessage(id="17-0", identity=IdentityChange(user="U"))
        assert bytes(live.data) == b""

    @pytest.mark.parametrize(
        "message",
        [
            b"",
            b"\xff",
            b"[]",
            b'"x"',
            b"{",
            b'{"roles":"any"}',
            b'{"project":1}',
            b'{"data":[]}',
            b'{"data":null}',
            b'{"data":"{"}',
        ],
    )
    def test_anything_else_raises(self, message: bytes) -> None:
        with pytest.raises(msgspec.MsgspecError):
            decode_live(message)

    @given(st.binary(max_size=40) | st.text(alphabet='{}[]":,datid01 ', max_size=40).map(str.encode))
    def test_any_bytes_are_decoded_or_raise(self, message: bytes) -> None:
        try:
            live = decode_live(message)
        except msgspec.MsgspecError:
            return
        assert bytes(live.data)[:1] in (b"", b"{")


class TestEnvelope:
    def test_subject_and_flag_are_written_even_if_unset(self) -> None:
        data = msgspec.Raw(msgspec.json.encode(EventData(["e"], ["c"], "t", msgspec.Raw(b"{}"))))
        assert msgspec.json.encode(Envelope("P", ["any"], data=data)) == (
            b'{"project":"P","roles":["any"],"permissionsChanged":false,"userId":null,'
            b'"data":{"events":["e"],"channels":["c"],"timestamp":"t","payload":{}}}'
        )

    def test_position_is_written_once_there_is_one(self) -> None:
        assert b'"id":"17-0"' in msgspec.json.encode(Envelope("P", [], id="17-0"))

    def test_missing_members_are_tolerated(self) -> None:
        assert msgspec.json.decode(b'{"project":"P","roles":[]}', type=Envelope) == Envelope("P", [])


class TestHidden:
    EVENT = {"$id": "r", "title": "T", "author": {"$id": "a"}, "secret": "s"}  # noqa: RUF012 - not changed

    @pytest.mark.parametrize("payload", [EVENT, json.dumps(EVENT).encode()])
    def test_hidden_members_are_in_the_full_payload_only(self, payload: dict[str, Any] | bytes) -> None:
        event = Event("teams.T.create", payload, hidden=["author"], sensitive=["secret"])
        (prepared,) = prepare(event, "P", now=NOW)
        envelope = json.loads(prepared.envelope)
        assert envelope["data"]["payload"] == {"$id": "r", "title": "T"}
        assert json.loads(prepared.full_payload) == {"$id": "r", "title": "T", "author": {"$id": "a"}}
        assert prepared.record == prepared.envelope + b"\0" + prepared.full_payload

    def test_record_is_the_envelope_when_nothing_is_hidden(self) -> None:
        for event in (
            Event("teams.T.create", {"a": 1}, hidden=["absent"]),
            Event("teams.T.create", {"a": 1, "secret": 2}, sensitive=["secret"]),
            Event("teams.T.create", b'{"a":1}'),
        ):
            (prepared,) = prepare(event, "P", now=NOW)
            assert (prepared.full_payload, prepared.record) == (b"", prepared.envelope)

    def test_console_gets_no_full_payload(self) -> None:
        event = Event("projects.p.ping", {"$id": "e", "h": 1}, hidden=["h"])
        own, console = prepare(event, "P", now=NOW, project_team="t")
        assert own.full_payload == b'{"$id":"e","h":1}'
        assert (console.project, console.full_payload) == ("console", b"")


class TestActing:
    def test_acting_user_and_depth_are_in_the_envelope(self) -> None:
        (prepared,) = prepare(Event("teams.T.create", {}, actor_id="ada", depth=2), "P", now=NOW)
        envelope = json.loads(prepared.envelope)
        assert (envelope["actorId"], envelope["depth"]) == ("ada", 2)
        assert "ada" not in json.dumps(envelope["data"])

    def test_neither_is_there_when_nobody_acts(self) -> None:
        (prepared,) = prepare(Event("teams.T.create", {}), "P", now=NOW)
        assert json.loads(prepared.envelope).keys() == {
            "project", "roles", "permissionsChanged", "userId", "data",
        }  # fmt: skip

    def test_acting_user_who_has_no_valid_id_is_refused(self) -> None:
        with pytest.raises(InvalidEventError, match="acting user"):
            prepare(Event("teams.T.create", {}, actor_id='"data":{"events":["x"]'), "P", now=NOW)
