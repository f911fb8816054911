"""Answers that are kept for a while."""

from workers.api.list_cache import ListCache


class TestListCache:
    def test_answer_lasts_for_its_time(self) -> None:
        now = [0.0]
        cache = ListCache(clock=lambda: now[0])
        assert cache.get("a") is None
        cache.put("a", b"x", ttl_s=10)
        now[0] = 9.9
        assert cache.get("a") == b"x"
        now[0] = 10
        assert cache.get("a") is None

    def test_newer_answer_replaces_the_older(self) -> None:
        cache = ListCache()
        cache.put("a", b"x", ttl_s=10)
        cache.put("a", b"y", ttl_s=10)
        assert cache.get("a") == b"y"

    def test_oldest_go_when_there_is_no_room(self) -> None:
        cache = ListCache(max_bytes=10_000)
        for number in range(50):
            cache.put(number, b"x" * 100, ttl_s=10)
        kept = [number for number in range(50) if cache.get(number) is not None]
        assert kept == [42, 43, 44, 45, 46, 47, 48, 49]

    def test_answer_that_is_too_large_is_not_kept(self) -> None:
        cache = ListCache(max_bytes=10_000)
        cache.put("small", b"x", ttl_s=10)
        cache.put("large", b"x" * 1_001, ttl_s=10)
        assert cache.get("large") is None
        assert cache.get("small") == b"x"
