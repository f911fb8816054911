"""What a client says by opening a connection (wire specification 2.1, 2.2, 2.4 and 2.7)."""

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import ClientError, ErrorKind
from realtime.hub.handshake import (
    Credentials,
    Handshake,
    Slot,
    build_slots,
    client_ip,
    parse_handshake,
    read_credentials,
)
from realtime.hub.query_string import parse_query_string
from realtime.messages import MessageLimits

Q1 = '{"method":"equal","attribute":"status","values":["a&b"]}'
Q2 = '{"method":"isNull","attribute":"gone"}'


def shake(query: str = "", /, **headers: str) -> Handshake:
    """Parse a request whose header names are written with underscores."""
    return parse_handshake(
        f"/v1/realtime?{query}", [(name.replace("_", "-"), value) for name, value in headers.items()]
    )


def slots(channels: list[str], query: str) -> list[tuple[int | str, list[str], list[object]]]:
    return [(s.key, s.channels, s.queries) for s in build_slots(channels, parse_query_string(query))]


class TestTarget:
    def test_request_without_anything_is_a_guest_of_the_console(self) -> None:
        assert parse_handshake("/v1/realtime", []) == Handshake(
            path="/v1/realtime",
            project_id="console",
            admin=False,
            credentials=Credentials(),
            channels=[],
            params={},
        )

    def test_path_and_parameters_are_split_at_the_first_question_mark(self) -> None:
        handshake = parse_handshake("/v1/realtime/?project=p&x=a?b", [])
        assert handshake.path == "/v1/realtime/"
        assert handshake.params == {"project": "p", "x": "a?b"}

    def test_origin_and_sdk_name_are_kept(self) -> None:
        handshake = parse_handshake("/v1/realtime", [("ORIGIN", "https://a.test"), ("X-SDK-Name", "Web")])
        assert (handshake.origin, handshake.sdk_name) == ("https://a.test", "Web")

    @given(st.text(), st.lists(st.tuples(st.text(), st.text())))
    def test_any_request_parses_or_is_refused(self, target: str, headers: list[tuple[str, str]]) -> None:
        try:
            parse_handshake(target, headers)
        except ClientError as error:
            assert error.kind is ErrorKind.URL_LIMIT  # noqa: PT017 - one of the two right outcomes

    def test_secrets_are_not_in_the_repr(self) -> None:
        handshake = shake(
            "devKey=s3cret",
            x_appwrite_session="s3cret",
            x_appwrite_jwt="s3cret",
            x_appwrite_key="s3cret",
        )
        assert "s3cret" not in repr(handshake.credentials)


class TestProject:
    @pytest.mark.parametrize(
        ("query", "headers", "expected"),
        [
            ("project=p1", {}, "p1"),
            ("", {"x_appwrite_project": "p2"}, "p2"),
            ("project=p1", {"X_Appwrite_Project": "p2"}, "p2"),
            ("project=p1", {"x_appwrite_project": ""}, "p1"),
            ("project=p1&project=p3", {}, "p3"),
            ("project=", {}, "console"),
            ("project=console", {}, "console"),
            ("project[]=p1", {}, "console"),
            ("project[0][]=q", {"x_appwrite_project": "p2"}, "p2"),
        ],
    )
    def test_header_wins_over_query(self, query: str, headers: dict[str, str], expected: str) -> None:
        assert shake(query, **headers).project_id == expected

    @pytest.mark.parametrize(
        ("query", "headers", "is_admin"),
        [
            ("", {}, False),
            ("mode=admin", {}, True),
            ("", {"x_appwrite_mode": "admin"}, True),
            ("mode=default", {"x_appwrite_mode": "admin"}, False),
            ("mode=admin", {"x_appwrite_mode": "default"}, True),
            ("mode[]=default", {"x_appwrite_mode": "admin"}, True),
            ("mode=Admin", {}, False),
        ],
    )
    def test_query_wins_over_header_for_mode(
        self, query: str, headers: dict[str, str], is_admin: bool
    ) -> None:
        assert shake(query, **headers).admin is is_admin


class TestSessions:
    def sessions(self, query: str = "project=Pr.1", /, **headers: str) -> tuple[str, ...]:
        return shake(query, **headers).credentials.sessions

    def test_every_source_in_its_order(self) -> None:
        assert self.sessions(
            x_fallback_cookies=json.dumps({"a_session_Pr.1": "4"}),
            x_appwrite_session="3",
            cookie="a_session_Pr.1_legacy=2; a_session_Pr.1=1",
        ) == ("1", "2", "3", "4")

    def test_cookie_is_percent_decoded_and_keeps_plus(self) -> None:
        assert self.sessions(cookie="a_session_Pr.1=a+b%2Fc%3D%3D") == ("a+b/c==",)

    @pytest.mark.parametrize(
        "cookie",
        [
            "other=1; a_session_Pr.1=v; more",
            ' broken ;;=;a_session_Pr.1 = "v" ',
            "a_session_Pr.1=v;a_session_Pr.1=second",
        ],
    )
    def test_cookie_is_found_among_others(self, cookie: str) -> None:
        assert self.sessions(cookie=cookie) == ("v",)

    @pytest.mark.parametrize(
        "cookie", ["", "a_session_pr.1=v", "a_session_Pr.1=", "a_session_Pr_1=v", "a_session_=v"]
    )
    def test_cookie_of_another_name_does_not_count(self, cookie: str) -> None:
        assert self.sessions(cookie=cookie) == ()

    def test_cookies_of_several_headers_are_joined(self) -> None:
        handshake = parse_handshake(
            "/v1/realtime?project=p", [("Cookie", "a=1"), ("cookie", "a_session_p=v"), ("Cookie", "b=2")]
        )
        assert handshake.credentials.sessions == ("v",)

    def test_mode_admin_reads_the_session_of_the_console(self) -> None:
        cookie = "a_session_Pr.1=project; a_session_console=console"
        assert self.sessions("project=Pr.1&mode=admin", cookie=cookie) == ("console",)

    @pytest.mark.parametrize(
        "value",
        [
            "", "x", "null", "5", "[]", '"a"', "{", "[" * 5000, '{"a_session_Pr.1":5}',
            '{"a_session_Pr.1":null}', '{"a_session_Pr.1":""}', '{"other":"v"}',
        ],
    )  # fmt: skip
    def test_garbage_in_fallback_cookies_is_no_session(self, value: str) -> None:
        assert self.sessions(x_fallback_cookies=value) == ()


class TestCredentials:
    @pytest.mark.parametrize(
        ("query", "headers", "expected"),
        [
            ("jwt=j1", {}, Credentials(jwt="j1")),
            ("jwt=j1", {"x_appwrite_jwt": "j2"}, Credentials(jwt="j2")),
            ("jwt[]=j1", {}, Credentials()),
            ("devKey=d1", {}, Credentials(dev_key="d1")),
            ("devKey=d1", {"x_appwrite_dev_key": "d2"}, Credentials(dev_key="d2")),
            ("devkey=d1", {}, Credentials()),
            ("key=k&x-appwrite-key=k&session=s", {}, Credentials()),
            ("", {"x_appwrite_key": "k", "x_appwrite_user": "u"}, Credentials(key="k", key_user="u")),
            ("impersonateuserid=a&impersonateUserId=b", {}, Credentials(impersonate_id="a")),
            ("impersonateUserId=b", {}, Credentials(impersonate_id="b")),
            ("impersonateuserid=a", {"x_appwrite_impersonate_user_id": "h"}, Credentials(impersonate_id="h")),
            ("impersonateemail=A@x.Test&impersonateEmail=b", {}, Credentials(impersonate_email="a@x.test")),
            ("impersonateEmail=B@x.test", {}, Credentials(impersonate_email="b@x.test")),
            ("", {"x_appwrite_impersonate_user_email": "H@x"}, Credentials(impersonate_email="h@x")),
            ("impersonatephone=%2B1&impersonatePhone=2", {}, Credentials(impersonate_phone="+1")),
            ("impersonatePhone=2", {}, Credentials(impersonate_phone="2")),
            ("", {"x_appwrite_impersonate_user_phone": "+3"}, Credentials(impersonate_phone="+3")),
        ],
    )
    def test_header_wins_and_query_falls_back(
        self, query: str, headers: dict[str, str], expected: Credentials
    ) -> None:
        assert shake(query, **headers).credentials == expected


class TestReadCredentials:
    def test_headers_are_read_for_the_project_that_is_asked_for(self) -> None:
        headers = [("Cookie", "a_session_p=one; a_session_q=two"), ("X-Appwrite-Key", "secret")]
        assert read_credentials(headers, "p") == Credentials(sessions=("one",), key="secret")
        assert read_credentials(headers, "q").sessions == ("two",)
        assert read_credentials([], "p") == Credentials()


class TestChannels:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", []),
            ("channels[]=account&channels[]=files", ["account", "files"]),
            ("channels%5B%5D=account&channels%5B%5D=files", ["account", "files"]),
            ("channels[1]=b&channels[0]=a&channels[x]=c", ["b", "a", "c"]),
            ("channels=account", ["account"]),
            ("channels[]=databases.d.tables.*.rows", ["databases.d.tables.*.rows"]),
        ],
    )
    def test_names_in_order(self, query: str, expected: list[str]) -> None:
        assert shake(query).channels == expected

    @pytest.mark.parametrize("query", ["channels[][]=a", "channels[]=a&channels[x][y]=b"])
    def test_nested_channels_are_refused(self, query: str) -> None:
        with pytest.raises(ClientError) as caught:
            shake(query)
        assert caught.value.kind is ErrorKind.URL_LIMIT
        assert (caught.value.code, str(caught.value)) == (1008, "Invalid channels.")

    def test_too_many_parameters_are_refused(self) -> None:
        with pytest.raises(ClientError) as caught:
            shake("&".join(["channels[]=a"] * 1001))
        assert caught.value.kind is ErrorKind.URL_LIMIT


class TestBuildSlots:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("", [(0, ["rows"], [])]),
            ("rows=q1", [(0, ["rows"], ["q1"])]),
            ("rows[0][]=q1&rows[0][]=q2", [(0, ["rows"], ["q1", "q2"])]),
            ("rows[0][]=q1&rows[1][]=q2", [(0, ["rows"], ["q1"]), (1, ["rows"], ["q2"])]),
            ("rows[]=q1&rows[]=q2", [(0, ["rows"], ["q1"]), (1, ["rows"], ["q2"])]),
            ("rows[0]=q1&rows[1]=q2", [(0, ["rows"], ["q1"]), (1, ["rows"], ["q2"])]),
            ("rows[x]=q1&rows[3][a]=q2", [("x", ["rows"], ["q1"]), (3, ["rows"], ["q2"])]),
            ("rows[0][][]=q1", [(0, ["rows"], [{0: "q1"}])]),
        ],
    )
    def test_forms_of_one_channel(self, query: str, expected: list[Any]) -> None:
        assert slots(["rows"], query) == expected

    @pytest.mark.parametrize("name", ["databases.d.tables.t.rows", "databases_d_tables_t_rows"])
    @pytest.mark.parametrize("is_encoded", [False, True])
    def test_dotted_and_underscored_names_are_equal(self, name: str, is_encoded: bool) -> None:
        channel = "databases.d.tables.t.rows"
        key = f"{name}[0][]"
        query = (
            f"{quote(key) if is_encoded else key}={quote(Q1)}&{quote(key) if is_encoded else key}={quote(Q2)}"
        )
        assert slots([channel], query) == [(0, [channel], [Q1, Q2])]

    def test_no_channel_is_no_slot(self) -> None:
        assert slots([], "rows[]=q1") == []

    def test_channels_without_queries_share_slot_zero(self) -> None:
        assert slots(["rows", "files"], "") == [(0, ["rows", "files"], [])]

    def test_channel_without_queries_is_filtered_by_those_set_before_it(self) -> None:
        assert slots(["rows", "files"], "rows[]=q1") == [(0, ["rows", "files"], ["q1"])]

    def test_first_channel_decides_the_queries_of_a_slot(self) -> None:
        assert slots(["files", "rows"], "rows[]=q1&rows[]=q2") == [
            (0, ["files", "rows"], []),
            (1, ["rows"], ["q2"]),
        ]
        assert slots(["a", "b"], "a[0]=q1&b[0]=q2&b[1]=q3") == [(0, ["a", "b"], ["q1"]), (1, ["b"], ["q3"])]

    def test_text_called_project_is_not_a_query(self) -> None:
        assert slots(["project"], "project=p1") == [(0, ["project"], [])]

    def test_array_called_project_is_queries(self) -> None:
        assert slots(["project"], "project[0][]=q1") == [(0, ["project"], ["q1"])]

    def test_slots_do_not_share_lists_with_the_parameters(self) -> None:
        first, second = build_slots(["a"], {"a": {0: "q", 1: "q"}})
        assert first == Slot(0, ["a"], ["q"])
        assert first.channels is not second.channels

    @pytest.mark.parametrize(
        ("limits", "text"),
        [
            (MessageLimits(max_items=1), "At most 1 subscriptions are allowed in the URL."),
            (MessageLimits(max_channels=1), "At most 1 channels are allowed in a subscription."),
            (MessageLimits(max_queries=1), "At most 1 queries are allowed in a subscription."),
        ],
    )
    def test_more_than_the_limit_is_refused(self, limits: MessageLimits, text: str) -> None:
        params = parse_query_string("a[0][]=q&a[0][]=q&a[1]=q")
        with pytest.raises(ClientError) as caught:
            build_slots(["a", "b"], params, limits=limits)
        assert caught.value.kind is ErrorKind.URL_LIMIT
        assert str(caught.value) == text

    def test_zero_is_no_limit(self) -> None:
        channels = [f"c{n}" for n in range(300)]
        (slot,) = build_slots(channels, {}, limits=MessageLimits(0, 0, 0, 0))
        assert slot.channels == channels


class TestClientIp:
    PROXIES = frozenset({"127.0.0.1", "10.0.0.1", "10.0.0.2", "::1"})

    def ip(
        self,
        *headers: tuple[str, str],
        peer: str = "127.0.0.1",
        names: tuple[str, ...] = ("x-forwarded-for",),
    ) -> str:
        return client_ip(peer, headers, header_names=names, trusted=self.PROXIES.__contains__)

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7, 10.0.0.2 ,10.0.0.1", "203.0.113.7"),
            ("6.6.6.6, 203.0.113.7, 10.0.0.1", "203.0.113.7"),
            ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
            ("unknown, 10.0.0.1", "10.0.0.1"),
            ("203.0.113.7, unknown", "127.0.0.1"),
            ("", "127.0.0.1"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:DB8::1]:4711", "2001:db8::1"),
            ("2001:db8:0::1", "2001:db8::1"),
            ("[2001:db8::1", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.7.8", "127.0.0.1"),
        ],
    )
    def test_last_address_that_is_no_proxy_counts(self, value: str, expected: str) -> None:
        assert self.ip(("X-Forwarded-For", value)) == expected

    def test_header_of_an_unknown_peer_is_ignored(self) -> None:
        assert self.ip(("x-forwarded-for", "203.0.113.7"), peer="198.51.100.9") == "198.51.100.9"

    def test_headers_of_one_name_are_read_together(self) -> None:
        assert self.ip(("x-forwarded-for", "203.0.113.7"), ("X-Forwarded-For", "10.0.0.1")) == "203.0.113.7"

    def test_first_header_with_an_address_counts(self) -> None:
        headers = [("x-forwarded-for", "203.0.113.7"), ("x-real-ip", "203.0.113.8"), ("x-broken", "-")]
        assert self.ip(*headers, names=("x-broken", "X-Real-IP", "x-forwarded-for")) == "203.0.113.8"

    def test_without_headers_it_is_the_peer(self) -> None:
        assert self.ip(("host", "example.com")) == "127.0.0.1"
