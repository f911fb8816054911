from contextlib import ExitStack

import pytest

from workers.functions.pace import Limits
from workers.functions.places import Person, Places, TooManyError, TooManyOfCallerError
from workers.functions.shares import Lane

LIMITS = Limits(total=20, of_project=15, of_function=10)
F, G, OTHER = Lane("p", "f"), Lane("p", "g"), Lane("q", "f")


def take(held: ExitStack, places: Places, count: int, lane: Lane, person: Person | None = None) -> int:
    """Take up to ``count`` places, and return how many there were."""
    for number in range(count):
        try:
            held.enter_context(places.take(lane, person))
        except TooManyError:
            return number
    return count


def guests(held: ExitStack, places: Places, count: int, lane: Lane) -> int:
    """Take up to ``count`` places for guests, each from another address."""
    return sum(take(held, places, 1, lane, Person("", f"10.0.0.{number}")) for number in range(count))


class TestTake:
    def test_project_has_three_quarters_and_others_the_rest(self) -> None:
        places = Places(LIMITS)
        with ExitStack() as held:
            assert take(held, places, 20, F) == 15
            assert take(held, places, 20, OTHER) == 5
        with ExitStack() as held:
            assert take(held, places, 20, F) == 15

    def test_people_leave_places_of_their_project_to_servers(self) -> None:
        places = Places(LIMITS)
        with ExitStack() as held:
            assert guests(held, places, 20, F) == 10
            assert guests(held, places, 20, G) == 1
            assert take(held, places, 20, F) == 4

    @pytest.mark.parametrize("person", [Person("", "10.0.0.1"), Person("ada", "10.0.0.1")])
    def test_one_has_half_of_what_a_project_has(self, person: Person) -> None:
        places = Places(LIMITS)
        with ExitStack() as held:
            assert take(held, places, 20, F, person) == 7
            with pytest.raises(TooManyOfCallerError):
                held.enter_context(places.take(G, person))
            assert guests(held, places, 20, G) > 0

    def test_user_with_many_addresses_is_one(self) -> None:
        places = Places(LIMITS)
        with ExitStack() as held:
            taken = sum(take(held, places, 1, F, Person("ada", str(number))) for number in range(20))
        assert taken == 7

    def test_place_is_free_when_its_run_fails(self) -> None:
        places = Places(Limits(total=1, of_project=1, of_function=1))
        with pytest.raises(RuntimeError), places.take(F, Person("ada", "10.0.0.1")):
            raise RuntimeError
        with places.take(F, Person("ada", "10.0.0.1")), pytest.raises(TooManyError):
            places.take(F, None).__enter__()
