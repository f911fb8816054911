"""The subscription index, rule by rule. Against a naive scan: test_index_oracle.py."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest

from realtime.hub.index import Miss, Subscriber, Subscription, SubscriptionIndex
from realtime.queries import Filter, PayloadView, compile_filter

ROWS = "tablesdb.main.tables.posts.rows"
ANY_TABLE_ROWS = "tablesdb.main.tables.*.rows"


class Client(Subscriber):
    """A subscriber with slots of its own, as the hub's connections are."""

    __slots__ = ("name",)

    def __init__(self, name: str, *roles: str) -> None:
        super().__init__(frozenset(roles))
        self.name = name


def equal(attribute: str, *values: object) -> Filter | None:
    return compile_filter([json.dumps({"method": "equal", "attribute": attribute, "values": values})])


def payload_of(**payload: object) -> Callable[[], Mapping[str, Any]]:
    return lambda: payload


def no_payload() -> Mapping[str, Any]:
    pytest.fail("the payload was read although no filter needs it")


def match(
    index: SubscriptionIndex,
    channels: Sequence[str],
    roles: Collection[str] = ("any",),
    payload: Callable[[], Mapping[str, Any]] = no_payload,
) -> dict[Subscriber, list[str]]:
    """Match an event; return the IDs of the subscriptions by receiver."""
    receivers = index.match(channels, roles, payload)
    return {
        subscriber: [subscription.id for subscription in found] for subscriber, found in receivers.items()
    }


def crowd(index: SubscriptionIndex, number: int, role: str, channel: str) -> list[Client]:
    """Add subscribers that make one side of the index the larger one."""
    clients = [Client(f"{role}-{n}", role) for n in range(number)]
    for client in clients:
        index.add(client)
        index.subscribe(client, "crowd", [channel], None)
    return clients


@pytest.fixture
def index() -> SubscriptionIndex:
    return SubscriptionIndex()


@pytest.fixture
def client(index: SubscriptionIndex) -> Client:
    client = Client("client", "users", "user:1", "team:red")
    index.add(client)
    return client


class TestSubscriber:
    def test_subclass_with_slots_has_no_dictionary(self) -> None:
        assert not hasattr(Client("a"), "__dict__")

    def test_new_subscriber_holds_nothing(self) -> None:
        subscriber = Subscriber()
        assert subscriber.roles == frozenset()
        assert subscriber.subscriptions == {}
        assert subscriber.query_cost == 0

    def test_query_cost_counts_equal_filters_once(self, index: SubscriptionIndex, client: Client) -> None:
        either = [{"method": "isNull", "attribute": "a"}, {"method": "isNull", "attribute": "b"}]
        index.subscribe(client, "a", ["rows", "files"], compile_filter([json.dumps(either[0])]))
        index.subscribe(client, "b", ["rows"], compile_filter([json.dumps(either[0])]))
        index.subscribe(client, "c", ["rows"], None)
        assert client.query_cost == 1
        index.subscribe(
            client, "d", ["rows"], compile_filter([json.dumps({"method": "or", "values": either})])
        )
        assert client.query_cost == 1 + 3
        index.unsubscribe(client, "d")
        assert client.query_cost == 1


class TestSubscription:
    @pytest.mark.parametrize(
        ("subscription_id", "encoded"), [("abc", b'"abc"'), ("unique()", b'"unique()"'), ('a"b', b'"a\\"b"')]
    )
    def test_id_is_encoded_as_json(self, subscription_id: str, encoded: bytes) -> None:
        assert Subscription(Subscriber(), subscription_id).ending == encoded + b"]}}"

    def test_repr_shows_id_and_channels(self, index: SubscriptionIndex, client: Client) -> None:
        assert repr(index.subscribe(client, "s", ["rows"], None)) == "<Subscription 's' to ['rows']>"


class TestRegistration:
    def test_counts_follow_subscribers_and_subscriptions(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        other = Client("other", "guests")
        index.add(other)
        index.subscribe(client, "a", ["rows"], None)
        index.subscribe(client, "b", ["rows"], None)
        index.subscribe(other, "a", ["rows"], None)
        assert (len(index), index.subscription_count) == (2, 3)
        index.remove(client)
        assert (len(index), index.subscription_count) == (1, 1)
        index.remove(other)
        assert (len(index), index.subscription_count) == (0, 0)

    def test_removed_subscriber_receives_nothing_and_has_no_subscriptions(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows", ANY_TABLE_ROWS], None)
        index.remove(client)
        assert client not in index
        assert client.subscriptions == {}
        assert match(index, ["rows", ROWS]) == {}

    def test_adding_or_removing_twice_has_no_further_effect(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.add(client)
        assert len(index) == 1
        index.remove(client)
        index.remove(client)
        assert len(index) == 0

    def test_removed_subscriber_can_be_added_again(self, index: SubscriptionIndex, client: Client) -> None:
        index.remove(client)
        index.add(client)
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["user:1"]) == {client: ["a"]}

    def test_stranger_is_refused(self, index: SubscriptionIndex) -> None:
        stranger = Client("stranger", "guests")
        with pytest.raises(KeyError):
            index.subscribe(stranger, "a", ["rows"], None)
        with pytest.raises(KeyError):
            index.set_roles(stranger, frozenset({"users"}))
        assert index.subscription_count == 0


class TestSubscribe:
    """Wire specification 4.3 and 4.4."""

    def test_same_id_adds_channels_and_keeps_the_earlier_filter(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        first = index.subscribe(client, "a", ["files"], equal("size", 1))
        second = index.subscribe(client, "a", ["rows"], None)
        assert second is first
        assert index.subscription_count == 1
        assert first.channels == {"files": equal("size", 1), "rows": None}
        assert match(index, ["rows"]) == {client: ["a"]}
        assert match(index, ["files"], payload=payload_of(size=2)) == {}
        assert match(index, ["files"], payload=payload_of(size=1)) == {client: ["a"]}

    def test_same_channel_again_replaces_its_filter(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], equal("size", 1))
        index.subscribe(client, "a", ["rows"], equal("size", 2))
        assert match(index, ["rows"], payload=payload_of(size=1)) == {}
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"]) == {client: ["a"]}

    def test_new_subscription_without_channels_is_not_registered(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        subscription = index.subscribe(client, "a", [], None)
        assert (subscription.id, subscription.channels) == ("a", {})
        assert index.subscription_count == 0
        assert not index.unsubscribe(client, "a")

    def test_known_subscription_without_channels_is_unchanged(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        subscription = index.subscribe(client, "a", ["rows"], None)
        assert index.subscribe(client, "a", [], equal("size", 1)) is subscription
        assert subscription.channels == {"rows": None}

    def test_ids_belong_to_their_connection(self, index: SubscriptionIndex, client: Client) -> None:
        other = Client("other", "guests")
        index.add(other)
        index.subscribe(client, "a", ["rows"], None)
        index.subscribe(other, "a", ["files"], None)
        assert match(index, ["rows"]) == {client: ["a"]}
        assert match(index, ["files"]) == {other: ["a"]}

    def test_unsubscribing_twice_tells_the_second_time_that_nothing_was_there(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows", "rows.create", ANY_TABLE_ROWS], None)
        index.subscribe(client, "b", ["rows"], None)
        assert index.unsubscribe(client, "a")
        assert not index.unsubscribe(client, "a")
        assert index.subscription_count == 1
        assert match(index, ["rows", "rows.create", ROWS]) == {client: ["b"]}

    def test_channel_names_are_shared_between_subscriptions(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        """One string in memory, however many clients sent the name."""
        names = [b"tablesdb.main.tables.posts.rows".decode() for _ in range(2)]
        assert names[0] is not names[1]
        one = index.subscribe(client, "a", names[:1], None)
        two = index.subscribe(client, "b", names[1:], None)
        assert next(iter(one.channels)) is next(iter(two.channels))

    @pytest.mark.parametrize("channel", ["account.1", "teams.*"])
    def test_name_is_kept_until_the_last_subscription_to_it_is_gone(
        self, index: SubscriptionIndex, client: Client, channel: str
    ) -> None:
        """Strangers choose the names, so none may outlive its subscriptions."""
        index.subscribe(client, "a", [channel], None)
        index.subscribe(client, "b", [channel], None)
        index.unsubscribe(client, "a")
        assert list(index._names) == [channel]
        index.unsubscribe(client, "b")
        assert index._names == {}

    def test_names_of_those_who_left_are_not_kept(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["account.1", "teams.*", "rows"], None)
        index.rebind(client, lambda channel: channel.replace("account.1", "account.2"))
        assert set(index._names) == {"account.2", "teams.*", "rows"}
        index.remove(client)
        assert index._names == {}


class TestSetRoles:
    """Wire specification 8.3."""

    def test_new_roles_count_and_old_ones_do_not(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], None)
        index.set_roles(client, frozenset({"users", "team:blue"}))
        assert client.roles == {"users", "team:blue"}
        assert match(index, ["rows"], ["team:red"]) == {}
        assert match(index, ["rows"], ["team:blue"]) == {client: ["a"]}
        assert match(index, ["rows"], ["users"]) == {client: ["a"]}

    def test_holder_by_new_role_is_found_from_the_role_side(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        crowd(index, 10, "guests", "rows")
        index.subscribe(client, "a", ["rows"], None)
        index.set_roles(client, frozenset({"team:blue"}))
        assert match(index, ["rows"], ["team:red"]) == {}
        assert match(index, ["rows"], ["team:blue"]) == {client: ["a"]}


class TestRebind:
    """Wire specification 5.3."""

    @staticmethod
    def rename(channel: str) -> str:
        return channel.replace("account.1", "account.2")

    def test_renamed_channel_keeps_its_filter_and_the_subscription_its_id(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["account", "account.1"], equal("name", "Ann"))
        index.rebind(client, self.rename)
        assert match(index, ["account.1"]) == {}
        assert match(index, ["account.2"], payload=payload_of(name="Bob")) == {}
        assert match(index, ["account.2"], payload=payload_of(name="Ann")) == {client: ["a"]}
        assert match(index, ["account"], payload=payload_of(name="Ann")) == {client: ["a"]}
        assert index.subscription_count == 1

    def test_two_channels_that_become_one_match_once(self, index: SubscriptionIndex, client: Client) -> None:
        subscription = index.subscribe(client, "a", ["account.2"], equal("name", "Ann"))
        index.subscribe(client, "a", ["account.1"], None)
        index.rebind(client, self.rename)
        assert subscription.channels == {"account.2": None}
        assert match(index, ["account.2"]) == {client: ["a"]}
        index.unsubscribe(client, "a")
        assert match(index, ["account.2"]) == {}

    def test_other_subscribers_keep_their_channels(self, index: SubscriptionIndex, client: Client) -> None:
        other = Client("other", "users")
        index.add(other)
        index.subscribe(other, "a", ["account.1"], None)
        index.subscribe(client, "a", ["account.1"], None)
        index.rebind(client, self.rename)
        assert match(index, ["account.1"]) == {other: ["a"]}


class TestMatch:
    """Wire specification 8.2."""

    def test_role_is_needed(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["user:1"]) == {client: ["a"]}
        assert match(index, ["rows"], ["user:2"]) == {}
        assert match(index, ["rows"], []) == {}

    def test_any_reaches_guests_and_users(self, index: SubscriptionIndex, client: Client) -> None:
        (guest,) = crowd(index, 1, "guests", "rows")
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["team:none", "any"]) == {guest: ["crowd"], client: ["a"]}

    def test_any_among_a_connections_roles_is_not_needed_to_be_reached_by_role(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["guests"]) == {}

    def test_event_without_subscribed_channel_reaches_nobody(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["row", "rows.create"]) == {}
        assert match(index, []) == {}

    @pytest.mark.parametrize("role", ["any", "users", "user:1"])
    def test_subscription_on_several_channels_of_the_event_is_listed_once(
        self, index: SubscriptionIndex, client: Client, role: str
    ) -> None:
        crowd(index, 10, "users", "rows")
        index.subscribe(client, "a", ["rows", ROWS, ANY_TABLE_ROWS], None)
        assert match(index, ["rows", "documents", ROWS], [role])[client] == ["a"]

    @pytest.mark.parametrize("role", ["any", "users", "user:1"])
    def test_subscriptions_are_listed_in_the_order_they_were_made(
        self, index: SubscriptionIndex, client: Client, role: str
    ) -> None:
        crowd(index, 10, "users", "rows")
        for subscription_id in ("c", "a", "d", "b"):
            index.subscribe(client, subscription_id, [ROWS if subscription_id == "d" else "rows"], None)
        assert match(index, [ROWS, "rows"], [role])[client] == ["c", "a", "d", "b"]

    def test_several_roles_of_one_connection_find_it_once(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        crowd(index, 30, "guests", "rows")
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["user:1", "team:red", "user:1"]) == {client: ["a"]}

    def test_both_sides_find_the_same(self, index: SubscriptionIndex) -> None:
        """Whether roles or channels are fewer decides how receivers are found, not which."""
        crowd(index, 20, "guests", "rows")
        crowd(index, 20, "users", "files")
        few = crowd(index, 3, "users", "rows")
        assert match(index, ["rows"], ["users"]) == {client: ["crowd"] for client in few}
        crowd(index, 40, "guests", "rows")
        assert match(index, ["rows"], ["users"]) == {client: ["crowd"] for client in few}

    def test_holder_with_very_many_subscriptions_is_found_from_the_channel_side(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        crowd(index, 5, "guests", "rows")
        for n in range(50):
            index.subscribe(client, f"s{n}", [f"tablesdb.main.tables.t{n}.rows"], None)
        index.subscribe(client, "a", ["rows"], None)
        assert match(index, ["rows"], ["user:1"]) == {client: ["a"]}

    def test_audience_that_shrank_is_still_found(self, index: SubscriptionIndex) -> None:
        """A group gives its memory back when most of it has left, and loses nobody."""
        clients = crowd(index, 1000, "users", "rows")
        for client in clients[:-3]:
            index.remove(client)
        left = {client: ["crowd"] for client in clients[-3:]}
        assert match(index, ["rows"], ["users"]) == left
        assert match(index, ["rows"], ["any"]) == left

    def test_index_may_change_while_the_result_is_used(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        crowd(index, 3, "users", "rows")
        for subscriber in index.match(["rows"], ["users"], no_payload):
            index.remove(subscriber)
        assert match(index, ["rows"], ["users"]) == {}


class TestFilters:
    """Wire specification 8.2 (c)."""

    @pytest.mark.parametrize("role", ["any", "users", "user:1"])
    def test_channel_whose_filter_refuses_does_not_hide_one_that_accepts(
        self, index: SubscriptionIndex, client: Client, role: str
    ) -> None:
        crowd(index, 10, "users", "files")
        index.subscribe(client, "a", ["rows"], equal("status", "closed"))
        index.subscribe(client, "a", [ROWS], equal("status", "open"))
        index.subscribe(client, "b", ["rows", ROWS], equal("status", "closed"))
        assert match(index, ["rows", ROWS], [role], payload_of(status="open")) == {client: ["a"]}

    @pytest.mark.parametrize("role", ["any", "users"])
    def test_equal_filters_are_asked_once_and_the_payload_is_read_once(
        self, index: SubscriptionIndex, role: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[Filter] = []
        accepts = Filter.accepts

        def counting(query: Filter, view: PayloadView) -> bool:
            asked.append(query)
            return accepts(query, view)

        monkeypatch.setattr(Filter, "accepts", counting)
        clients = crowd(index, 20, "users", "files")
        filters = [equal("status", "open"), equal("status", "closed")]
        for n, client in enumerate(clients):
            # Compiled again, as it comes from another client's message.
            index.subscribe(client, "q", ["rows", ROWS], equal("status", "open" if n % 2 else "closed"))
        reads = iter([{"status": "open"}])
        found = match(index, ["rows", ROWS], [role], lambda: next(reads))
        assert found == {client: ["q"] for n, client in enumerate(clients) if n % 2}
        assert len(asked) == 2
        assert {id(query) for query in asked} == {id(query) for query in filters}

    def test_payload_is_not_read_for_those_without_the_role(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows"], equal("status", "open"))
        assert match(index, ["rows"], ["guests"]) == {}

    def test_attribute_is_folded_once_for_all_filters(self, index: SubscriptionIndex, client: Client) -> None:
        """The work that grows with a text must not grow with the number of filters too."""
        folds: list[str] = []

        class Text(str):
            __slots__ = ()

            def casefold(self) -> str:
                folds.append("casefold")
                return super().casefold()

        for n, method in enumerate(("search", "startsWith", "endsWith", "contains", "notSearch") * 5):
            query = {"method": method, "attribute": "title", "values": [f"x{n}"]}
            index.subscribe(client, f"s{n}", ["rows"], compile_filter([json.dumps(query)]))
        assert len(match(index, ["rows"], payload=payload_of(title=Text("The quick fox")))[client]) == 5
        assert folds == ["casefold"]


class TestMiss:
    """Why nobody receives an event."""

    def test_found_receivers_are_no_miss(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], None)
        assert index.find(["rows"], {"users"}, no_payload).miss is None

    def test_channel_without_subscription_has_no_subscriber(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["files"], None)
        assert index.find(["rows"], {"users"}, no_payload).miss is Miss.NO_SUBSCRIBER

    @pytest.mark.parametrize("others", [0, 50], ids=["by subscription", "by role"])
    def test_subscribers_without_role_have_no_permission(
        self, index: SubscriptionIndex, client: Client, others: int
    ) -> None:
        """Their filters are not even asked."""
        crowd(index, others, "guests", "rows")
        crowd(index, 1, "label:vip", "files")
        index.subscribe(client, "a", ["rows"], equal("status", "open"))
        assert index.find(["rows"], {"label:vip"}, no_payload).miss is Miss.NO_PERMISSION

    @pytest.mark.parametrize("others", [0, 50], ids=["by subscription", "by role"])
    def test_filters_that_let_nothing_pass_are_the_reason(
        self, index: SubscriptionIndex, client: Client, others: int
    ) -> None:
        crowd(index, others, "guests", "rows")
        index.subscribe(client, "a", ["rows"], equal("status", "open"))
        assert index.find(["rows"], {"user:1"}, payload_of(status="shut")).miss is Miss.QUERY


class TestRemembering:
    """The same receivers as the last time are the same object, so that others can keep what they made of them."""

    def test_event_on_another_channel_of_the_same_subscribers_has_the_same_match(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows"], None)
        first = index.find(["rows", f"{ROWS}.1"], {"users"}, no_payload)
        assert index.find([f"{ROWS}.2", "rows"], {"users"}, no_payload) is first

    def test_other_roles_are_looked_for_anew(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], None)
        first = index.find(["rows"], {"users"}, no_payload)
        assert index.find(["rows"], {"guests"}, no_payload) is not first

    def test_filters_are_asked_for_each_event(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], equal("status", "open"))
        assert match(index, ["rows"], payload=payload_of(status="open")) == {client: ["a"]}
        assert match(index, ["rows"], payload=payload_of(status="shut")) == {}

    @pytest.mark.parametrize(
        "change",
        [
            lambda index, client: index.add(Client("other")),
            lambda index, client: index.remove(client),
            lambda index, client: index.set_roles(client, frozenset({"guests"})),
            lambda index, client: index.subscribe(client, "b", ["rows"], None),
            lambda index, client: index.unsubscribe(client, "a"),
            lambda index, client: index.rebind(client, lambda channel: channel),
        ],
        ids=["add", "remove", "set_roles", "subscribe", "unsubscribe", "rebind"],
    )
    def test_each_change_makes_it_forget(
        self, index: SubscriptionIndex, client: Client, change: Callable[[SubscriptionIndex, Client], None]
    ) -> None:
        index.subscribe(client, "a", ["rows"], None)
        first = index.find(["rows"], {"users"}, no_payload)
        change(index, client)
        assert index.find(["rows"], {"users"}, no_payload) is not first

    def test_what_was_not_asked_for_again_is_forgotten_the_second_time(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["rows"], None)
        first = index.find(["rows"], {"users"}, no_payload)
        index.forget_unused()
        assert index.find(["rows"], {"users"}, no_payload) is first
        index.forget_unused()
        index.forget_unused()
        assert index.find(["rows"], {"users"}, no_payload) is not first


class TestWildcards:
    """Wire specification 16.9."""

    def test_star_stands_for_one_id(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["tablesdb.*.tables.*.rows"], None)
        assert match(index, ["tablesdb.x.tables.y.rows"]) == {client: ["a"]}
        assert match(index, ["tablesdb.x.tables.y.rows.z"]) == {}
        assert match(index, ["databases.x.tables.y.rows"]) == {}

    @pytest.mark.parametrize("role", ["any", "users", "user:1"])
    def test_plain_name_and_star_match_together(
        self, index: SubscriptionIndex, client: Client, role: str
    ) -> None:
        crowd(index, 10, "users", ROWS)
        index.subscribe(client, "plain", [ROWS], None)
        index.subscribe(client, "star", [ANY_TABLE_ROWS], equal("status", "open"))
        assert match(index, [ROWS], [role], payload_of(status="open"))[client] == ["plain", "star"]
        assert match(index, [ROWS], [role], payload_of(status="shut"))[client] == ["plain"]

    def test_star_in_an_unknown_name_is_a_literal_that_never_matches(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "known", ["teams.*"], None)
        index.subscribe(client, "unknown", ["rows.*", "po*", "*"], None)
        assert match(index, ["rows.create", "posts", "rows"]) == {}
        assert match(index, ["teams.red", "teams"]) == {client: ["known"]}

    def test_shape_is_in_use_as_long_as_one_name_has_it(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        index.subscribe(client, "a", ["teams.*"], None)
        index.subscribe(client, "b", ["teams.*"], None)
        index.subscribe(client, "c", ["files.*", "memberships.*", "teams.*.update"], None)
        index.unsubscribe(client, "a")
        assert match(index, ["teams.red"]) == {client: ["b"]}
        index.unsubscribe(client, "b")
        assert match(index, ["teams.red"]) == {}
        assert match(index, ["memberships.m"]) == {client: ["c"]}
        assert match(index, ["teams.red.update"]) == {client: ["c"]}
        index.unsubscribe(client, "c")
        assert match(index, ["memberships.m", "teams.red.update"]) == {}
        assert index._shapes == {}


class TestHolders:
    def test_holders_of_a_role_are_listed_in_the_order_they_came_to_it(
        self, index: SubscriptionIndex, client: Client
    ) -> None:
        late = Client("late", "guests")
        index.add(late)
        index.set_roles(late, frozenset({"team:red"}))
        assert index.holders("team:red") == [client, late]
        assert index.holders("guests") == []


class TestMatchOne:
    """Wire specification 16.4, 16.12."""

    def test_roles_do_not_matter(self, index: SubscriptionIndex, client: Client) -> None:
        subscription = index.subscribe(client, "a", ["rows", ANY_TABLE_ROWS], None)
        index.set_roles(client, frozenset())
        assert index.match_one(client, ["rows"], no_payload) == [subscription]
        assert index.match_one(client, [ROWS], no_payload) == [subscription]
        assert index.match_one(client, ["files"], no_payload) == []

    def test_only_this_subscriber_is_looked_at(self, index: SubscriptionIndex, client: Client) -> None:
        crowd(index, 3, "users", "rows")
        assert index.match_one(client, ["rows"], no_payload) == []

    def test_filters_apply(self, index: SubscriptionIndex, client: Client) -> None:
        index.subscribe(client, "a", ["rows"], equal("status", "open"))
        kept = index.subscribe(client, "b", ["rows"], equal("status", "shut"))
        assert index.match_one(client, ["rows"], payload_of(status="shut")) == [kept]
