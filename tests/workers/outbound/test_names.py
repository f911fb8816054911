"""What is remembered of names."""

from ipaddress import ip_address

import pytest

from workers.outbound import names as module
from workers.outbound.names import FRESH_S, PROMPT_S, PROVEN_S, SUSPECT_S, Addresses, Names, domain_of

FOUND = [ip_address("192.0.2.1")]


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def names(clock: Clock) -> Names:
    return Names(clock)


class TestDomainOf:
    @pytest.mark.parametrize(
        ("host", "domain"),
        [
            ("example.com", "example.com"),
            ("a.b.Example.COM.", "example.com"),
            ("n1.n2.example.de", "example.de"),
            ("a.b.example.co.uk", "example.co.uk"),
            ("co.uk", "co.uk"),
            ("a.com.example.org", "example.org"),
            ("localhost", "localhost"),
            ("", ""),
        ],
    )
    def test_is_what_a_registry_gives_out(self, host: str, domain: str) -> None:
        assert domain_of(host) == domain


class TestNames:
    def test_addresses_are_used_again_for_a_moment(self, names: Names, clock: Clock) -> None:
        assert names.addresses("a.example.com") is None
        names.note("a.example.com", FOUND, 0.1)
        assert names.addresses("a.example.com") == FOUND
        assert names.addresses("b.example.com") is None
        clock.now += FRESH_S
        assert names.addresses("a.example.com") is None

    def test_name_that_was_resolved_promptly_is_proven_for_long(self, names: Names, clock: Clock) -> None:
        assert names.kind("a.example.com") == "new"
        names.note("a.example.com", FOUND, 0.1)
        clock.now += PROVEN_S - 1
        assert names.kind("a.example.com") == "proven"
        clock.now += 1
        assert names.kind("a.example.com") == "new"

    def test_name_that_can_no_longer_be_resolved_is_new(self, names: Names) -> None:
        names.note("a.example.com", FOUND, 0.1)
        names.note("a.example.com", (), 0.1)
        assert names.addresses("a.example.com") is None
        assert names.kind("a.example.com") == "new"

    @pytest.mark.parametrize("found", [(), FOUND])
    def test_names_of_a_slow_domain_are_suspect_unless_they_are_proven(
        self, names: Names, clock: Clock, found: Addresses
    ) -> None:
        names.note("good.example.com", FOUND, 0.1)
        names.note("slow.example.com", found, PROMPT_S)
        assert names.kind("slow.example.com") == names.kind("other.example.com") == "suspect"
        assert names.kind("good.example.com") == "proven"
        assert names.kind("example.org") == "new"
        clock.now += SUSPECT_S
        assert names.kind("other.example.com") == "new"

    def test_proven_name_that_is_slow_once_is_new(self, names: Names) -> None:
        names.note("a.example.com", FOUND, 0.1)
        names.note("a.example.com", FOUND, PROMPT_S)
        assert names.kind("a.example.com") == "new"
        names.note("a.example.com", FOUND, PROMPT_S)
        assert names.kind("a.example.com") == "suspect"
        names.note("a.example.com", FOUND, 0.1)
        assert names.kind("a.example.com") == "proven"

    def test_oldest_are_forgotten(self, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MAX_NAMES", 2)
        monkeypatch.setattr(module, "_MAX_DOMAINS", 2)
        for number in range(3):
            names.note(f"{number}.example.com", FOUND, 0.1)
            names.note(f"slow{number}.example", (), PROMPT_S)
        assert [names.kind(f"{number}.example.com") for number in range(3)] == ["new", "proven", "proven"]
        assert [names.kind(f"slow{number}.example") for number in range(3)] == ["new", "suspect", "suspect"]
