import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidEventError
from realtime.events.catalogue import CATALOGUE
from realtime.events.names import validate_subscription
from realtime.events.subscribed import MAX_NAMES, validate_subscribed

NAMES = (
    "users.*.create",
    "buckets.*.files.*",
    "tablesdb.*.tables.*.rows.*.upsert",
    "functions.*.executions.*",
)


class TestValidate:
    def test_names_come_back_in_order_and_once(self) -> None:
        assert validate_subscribed(["users.*", "teams.T", "users.*"]) == ("users.*", "teams.T")

    def test_no_names_are_fine(self) -> None:
        assert validate_subscribed([]) == ()

    def test_one_bad_name_refuses_all_and_is_named(self) -> None:
        with pytest.raises(InvalidEventError, match=r"^Event is not valid\. \(nothing\.\*\.create\)$"):
            validate_subscribed(["users.*", "nothing.*.create"])

    def test_as_many_as_allowed_pass_and_one_more_does_not(self) -> None:
        names = [f"users.u{number}" for number in range(MAX_NAMES)]
        assert validate_subscribed(names) == tuple(names)
        with pytest.raises(InvalidEventError, match="At most 100 events"):
            validate_subscribed([*names, "users.*"])

    @given(st.lists(st.sampled_from([*NAMES, "functions", "functions.*.x", "users.*.*"])), st.booleans())
    def test_it_is_what_each_name_alone_says(self, names: list[str], for_function: bool) -> None:
        def is_valid(name: str) -> bool:
            try:
                validate_subscription(name)
            except InvalidEventError:
                return False
            return not (for_function and name.startswith("functions."))

        try:
            assert set(validate_subscribed(names, for_function=for_function)) == set(names)
        except InvalidEventError:
            assert not all(map(is_valid, names))
        else:
            assert all(map(is_valid, names))


class TestFunctions:
    @pytest.mark.parametrize("name", ["functions.*", "functions.f.update", "functions.*.executions.*.create"])
    def test_event_of_a_function_does_not_set_off_functions(self, name: str) -> None:
        assert validate_subscribed([name]) == (name,)
        with pytest.raises(InvalidEventError, match="on a function event is not allowed"):
            validate_subscribed([name], for_function=True)

    @pytest.mark.parametrize("root", sorted(set(CATALOGUE) - {"functions"}))
    def test_every_other_event_does(self, root: str) -> None:
        assert validate_subscribed([f"{root}.*"], for_function=True) == (f"{root}.*",)
