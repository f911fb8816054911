from redis.asyncio import Redis

from realtime.bus.windows import WindowCount, count_in_window


class TestCountInWindow:
    async def test_uses_count_until_the_window_ends(self, redis_client: Redis) -> None:
        async def count(now: float, *, project: str = "p", name: str = "a") -> WindowCount:
            return await count_in_window(redis_client, project, name, window_s=60, now=now)

        assert [await count(60.0), await count(119.9)] == [(1, 120), (2, 120)]
        assert await count(120.0) == (1, 180)
        assert await count(119.0) == (3, 120)
        assert await count(119.0, name="b") == (1, 120)
        assert await count(119.0, project="q") == (1, 120)

    async def test_counter_outlives_its_window_by_little(self, redis_client: Redis) -> None:
        await count_in_window(redis_client, "p", "a", window_s=60, now=0.0)
        (key,) = await redis_client.keys("*")
        assert 60 < await redis_client.ttl(key) <= 61
