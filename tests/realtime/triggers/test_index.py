from hypothesis import given
from hypothesis import strategies as st

from realtime.triggers.index import TriggerIndex
from realtime.triggers.model import FunctionTrigger, Triggers, Webhook

NAMES = st.lists(st.sampled_from(["a", "a.*", "b", "c", "c.d"]), max_size=5).map(tuple)
IDS = st.sampled_from(["w1", "w2", "w3", "w10", "W"])


def webhook(id_: str, events: tuple[str, ...], enabled: bool = True) -> Webhook:
    return Webhook(id_, "Hook", "https://example.com/", events, "sealed", enabled=enabled)


@st.composite
def triggers(draw: st.DrawFn) -> Triggers:
    ids = sorted(draw(st.sets(IDS)))
    webhooks = tuple(webhook(id_, draw(NAMES), draw(st.booleans())) for id_ in ids)
    functions = tuple(
        FunctionTrigger(id=id_, name="F", events=draw(NAMES), enabled=draw(st.booleans())) for id_ in ids
    )
    return Triggers(1, webhooks, functions)


class TestTriggerIndex:
    @given(triggers(), NAMES)
    def test_finds_what_looking_at_all_of_them_finds(
        self, triggers: Triggers, events: tuple[str, ...]
    ) -> None:
        index = TriggerIndex(triggers)
        assert index.webhooks(events) == [
            each for each in triggers.webhooks if each.enabled and set(each.events) & set(events)
        ]
        assert index.functions(events) == [
            each for each in triggers.functions if each.enabled and set(each.events) & set(events)
        ]

    def test_each_is_found_once_and_by_id(self) -> None:
        index = TriggerIndex(Triggers(1, (webhook("w2", ("a", "b")), webhook("w1", ("b", "b")))))
        assert [each.id for each in index.webhooks(["b", "a", "b"])] == ["w1", "w2"]

    def test_disabled_ones_are_not_found(self) -> None:
        function = FunctionTrigger(id="f", name="F", events=("a",), enabled=False)
        index = TriggerIndex(Triggers(1, (webhook("w", ("a",), enabled=False),), (function,)))
        assert (index.webhooks(["a"]), index.functions(["a"])) == ([], [])
