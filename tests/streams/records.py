"""What the hubs' records in Redis say of how far clients have confirmed what they were sent."""

from typing import Any

from redis.asyncio import Redis

from realtime.bus.keys import resume_floor_key, resume_key
from realtime.bus.positions import Position, parse_position


async def confirmed_position(redis: Redis, project: str) -> Position | None:
    """Return the earliest position from which any subscription of a project would go on, were it lost now.

    Everything up to it is confirmed by every client whose subscriptions return by themselves. None if there is no
    such subscription. ``realtime/bus/resume.lua`` says what the records mean.
    """
    # Records first: a floor that is read later than a record can only be further.
    records = await _values(redis, resume_key(project, "", "").removesuffix(":"))
    floors = await _values(redis, resume_floor_key(project, ""))
    by_hub = {key.rpartition(":")[2]: parse_position(floor) for key, floor in floors.items()}
    return min((_goes_on(record, by_hub) for record in records.values()), default=None)


async def _values(redis: Redis, prefix: str) -> dict[str, str]:
    keys = await redis.keys(f"{prefix}*")
    values: Any = await redis.mget(keys) if keys else []
    pairs: Any = zip(keys, values, strict=True)
    return {key.decode(): value.decode() for key, value in pairs if value is not None}


def _goes_on(record: str, floors: dict[str, Position]) -> Position:
    holder, mode, position = record.split()
    floor = floors.get(holder.partition(":")[0]) if mode == "from" else None
    return max(parse_position(position), floor or (0, 0))
