"""Answers that are kept for a while."""

import pytest

from workers.api.list_cache import ListCache, digest_of


class TestListCache:
    def test_answer_is_as_old_as_the_asker_lets_it_be(self) -> None:
        now = [0.0]
        cache = ListCache(clock=lambda: now[0])
        assert cache.get(b"a", ttl_s=10) is None
        cache.put(b"a", b"x")
        now[0] = 9.9
        assert cache.get(b"a", ttl_s=10) == b"x"
        assert cache.get(b"a", ttl_s=9) is None
        now[0] = 10
        assert cache.get(b"a", ttl_s=10) is None
        assert cache.get(b"a", ttl_s=11) == b"x"

    def test_newer_answer_replaces_the_older(self) -> None:
        cache = ListCache()
        cache.put(b"a", b"x")
        cache.put(b"a", b"y")
        assert cache.get(b"a", ttl_s=10) == b"y"

    def test_oldest_go_when_there_is_no_room(self) -> None:
        cache = ListCache(max_bytes=10_000)
        for number in range(50):
            cache.put(bytes([number]), b"x" * 100)
        kept = [number for number in range(50) if cache.get(bytes([number]), ttl_s=10) is not None]
        assert kept == [42, 43, 44, 45, 46, 47, 48, 49]

    def test_answer_that_is_too_large_is_not_kept(self) -> None:
        cache = ListCache(max_bytes=10_000)
        cache.put(b"small", b"x")
        cache.put(b"large", b"x" * 1_001)
        assert cache.get(b"large", ttl_s=10) is None
        assert cache.get(b"small", ttl_s=10) == b"x"


class TestDigest:
    def test_what_is_asked_at_length_takes_no_more_room(self) -> None:
        assert len(digest_of("x" * 61_000, ["y"] * 1_000)) == 32

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (("a", "b"), ("ab",)),
            ((["a"], []), ([], ["a"])),
            ((["a", "b"],), (["a,b"],)),
            ((["a"], ["b"]), (["a", "b"], [])),
            ((None,), ([],)),
            ((None,), ("None",)),
            (("\ud800",), ("?",)),
        ],
    )
    def test_it_differs_where_what_is_asked_does(self, one: tuple[object], other: tuple[object]) -> None:
        assert digest_of(*one) != digest_of(*other)
        assert digest_of(*one) == digest_of(*one)
