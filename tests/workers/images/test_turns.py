"""Whose picture is drawn next."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from workers.images.turns import Party, Turns

ATTACKER = Party("demo", False, "192.0.2.1")
PERSON = Party("demo", False, "192.0.2.2", "ada")
COLLEAGUE = Party("demo", False, "192.0.2.2", "bob")
KEY = Party("demo", True, "192.0.2.3")
OTHER = Party("other", False, "192.0.2.4")

parties = st.sampled_from([ATTACKER, PERSON, COLLEAGUE, KEY, OTHER])


def taken(turns: Turns[str]) -> list[str]:
    items = []
    while (item := turns.take()) is not None:
        items.append(item)
    return items


class TestTake:
    def test_nothing_is_next_when_nothing_waits(self) -> None:
        assert Turns[str](1).take() is None

    def test_one_party_is_served_in_the_order_of_asking(self) -> None:
        turns = Turns[str](10)
        for item in "abc":
            turns.put(PERSON, item)
        assert taken(turns) == ["a", "b", "c"]

    def test_others_wait_for_one_turn_of_whoever_asks_for_much(self) -> None:
        turns = Turns[str](10)
        for number in range(4):
            turns.put(ATTACKER, f"much{number}")
        for party, item in ((PERSON, "ada"), (COLLEAGUE, "bob"), (KEY, "key"), (OTHER, "other")):
            turns.put(party, item)
        # Projects take turns, then keys and people, then addresses, then users.
        assert taken(turns) == ["much0", "other", "key", "ada", "much1", "bob", "much2", "much3"]


class TestPut:
    def test_whoever_has_most_gives_up_the_newest_for_others(self) -> None:
        turns = Turns[str](4)
        for number in range(4):
            assert turns.put(ATTACKER, f"much{number}") is None
        assert turns.put(ATTACKER, "more") == "more"
        assert turns.put(PERSON, "ada") == "much3"
        assert turns.put(KEY, "key") == "much2"
        assert turns.put(OTHER, "other") == "much1"
        assert len(turns) == 4
        # Nobody has more than one now, so whoever comes is refused, but for API keys: there are fewer of these.
        assert turns.put(COLLEAGUE, "bob") == "bob"
        assert turns.put(KEY._replace(address="192.0.2.5"), "another") in {"another", "ada", "much0"}

    def test_many_addresses_do_not_crowd_out_a_key(self) -> None:
        turns = Turns[str](50)
        for number in range(50):
            turns.put(Party("demo", False, f"198.51.100.{number}"), "crowd")
        assert turns.put(KEY, "key") == "crowd"
        assert "key" in [turns.take() for _ in range(2)]


class TestAll:
    @given(st.lists(st.tuples(st.sampled_from(["put", "put", "take", "remove"]), parties)), st.integers(1, 8))
    def test_nothing_is_lost_and_everybody_keeps_their_order(
        self, steps: list[tuple[str, Party]], places: int
    ) -> None:
        turns = Turns[int](places)
        waiting: dict[int, Party] = {}
        for item, (step, party) in enumerate(steps):
            if step == "put":
                waiting[item] = party
                refused = turns.put(party, item)
                assert (refused is None) == (len(waiting) <= places)
                if refused is not None:
                    # Of a project that has most.
                    sizes = Counter(each.project_id for each in waiting.values())
                    loser = waiting.pop(refused)
                    assert sizes[loser.project_id] == max(sizes.values())
                    assert not [each for each, whose in waiting.items() if whose == loser and each > refused]
            elif step == "take":
                following = turns.take()
                assert (following is None) == (not waiting)
                if following is not None:
                    own = waiting.pop(following)
                    assert not [each for each, whose in waiting.items() if whose == own and each < following]
            else:
                mine = [each for each, whose in waiting.items() if whose == party]
                turns.remove(party, mine[0] if mine else -1)
                if mine:
                    del waiting[mine[0]]
            assert len(turns) == len(waiting)
