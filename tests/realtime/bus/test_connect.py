import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from realtime.bus import connect, embedded_url, redis_url
from realtime.bus.connect import embedded_socket
from realtime.errors import RealtimeError
from realtime.settings import Settings
from tests.topologies import Server, free_ports


class TestConnect:
    async def test_client_answers_with_bytes(self, redis_url: str) -> None:
        client = connect(redis_url)
        await client.set("greeting", "hello")

        assert await client.get("greeting") == b"hello"
        await client.aclose()

    async def test_client_has_a_name_that_operators_see(self, redis_url: str) -> None:
        client = connect(redis_url)

        assert await client.client_getname() in (b"realtime", "realtime")
        await client.aclose()

    async def test_options_win(self, redis_url: str) -> None:
        client = connect(redis_url, decode_responses=True)
        await client.set("greeting", "hello")

        assert await client.get("greeting") == "hello"
        await client.aclose()

    @pytest.mark.parametrize("moment", range(10))
    async def test_loop_over_commands_can_be_cancelled_at_any_moment(
        self, redis_url: str, moment: int
    ) -> None:
        client = connect(redis_url)

        async def ping_for_ever() -> None:
            while True:
                await client.ping()

        task = asyncio.create_task(ping_for_ever())
        await asyncio.sleep(0.005 + moment / 10_000)
        task.cancel()

        done, _ = await asyncio.wait([task], timeout=2)
        assert done
        await client.aclose()

    async def test_server_that_does_not_answer_is_an_error_in_time(self, proxy: Any) -> None:
        client = connect(proxy.url, socket_timeout=0.1)
        await client.ping()
        proxy.stall()

        with pytest.raises(RedisError):
            await client.ping()
        proxy.flow()
        await client.aclose()

    async def test_command_whose_answer_was_lost_is_not_repeated(self, proxy: Any) -> None:
        client = connect(proxy.url)
        await client.ping()
        proxy.lose_next_reply()

        with pytest.raises(RedisError):
            await client.incr("counter")
        assert await client.get("counter") == b"1"
        await client.aclose()

    async def test_more_commands_than_connections_wait_for_their_turn(self, redis_url: str) -> None:
        client = connect(redis_url, max_connections=2)

        assert all(await asyncio.gather(*(client.ping() for _ in range(50))))
        await client.aclose()

    async def test_unknown_kind_of_url_is_refused(self) -> None:
        with pytest.raises(ValueError, match="scheme"):
            connect("http://localhost")

    @pytest.mark.parametrize(
        "url",
        [
            "redis://h:port",
            "redis://h?socket_timeout=soon",
            "redis://h?colour=red",
            "redis-sentinel://h:26379",
            "redis-sentinel://h/m?socket_timeout=soon",
            "redis-sentinel://h/m?colour=red",
            "redis-cluster://h/3",
            "redis-cluster://h?socket_timeout=soon",
            "redis-cluster://h?colour=red",
            "rediss-cluster://h?colour=red",
        ],
    )
    async def test_url_that_cannot_be_used_is_refused_at_once(self, url: str) -> None:
        """As an error that the command line shows in one line, and that is a ValueError for everybody else."""
        with pytest.raises(ValueError, match="REALTIME_REDIS_URL") as caught:
            connect(url)
        assert isinstance(caught.value, RealtimeError)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://127.0.0.1:1?socket_timeout=1",
            "redis-sentinel://ann:secret@127.0.0.1:1/m/2?socket_timeout=1",
            "rediss-sentinel://127.0.0.1:1/m?ssl_cert_reqs=none",
            "redis-cluster://ann:secret@127.0.0.1:1?socket_timeout=1",
            "rediss-cluster://127.0.0.1:1?ssl_cert_reqs=none",
        ],
    )
    async def test_usable_url_without_a_server_is_an_error_at_the_first_command(self, url: str) -> None:
        client = connect(url)

        with pytest.raises(RedisError):
            await client.ping()
        with pytest.raises(RedisError):
            await client.get("{b1}:x")
        await client.aclose()

    async def test_cluster_that_has_given_out_no_slots_is_an_error_at_the_first_command(
        self, tmp_path: Path
    ) -> None:
        server = Server(tmp_path, free_ports(1)[0], "cluster-enabled yes")
        server.start()
        client = connect(f"redis-cluster://127.0.0.1:{server.port}")

        for command in (client.ping, lambda: client.get("{b1}:x")):
            with pytest.raises(RedisError, match="slots"):
                await command()
        await client.aclose()
        server.kill()

    async def test_server_that_is_not_there_is_an_error_at_the_first_command(self, tmp_path: Path) -> None:
        client = connect(embedded_url(tmp_path))

        with pytest.raises(RedisError):
            await client.ping()
        await client.aclose()


class TestRedisUrl:
    def test_settings_name_the_server(self) -> None:
        assert redis_url(Settings(redis_url="redis://example")) == "redis://example"

    def test_without_one_it_is_the_embedded_server(self, tmp_path: Path) -> None:
        url = redis_url(Settings(redis_url="", data_dir=tmp_path))

        assert url == f"unix://{tmp_path}/valkey.sock" == embedded_url(tmp_path)


class TestEmbeddedSocket:
    def test_long_folder_gets_a_short_path_that_is_always_the_same(self, tmp_path: Path) -> None:
        path = embedded_socket(tmp_path / ("x" * 120))

        assert len(str(path)) <= 100
        assert path == embedded_socket(tmp_path / ("x" * 120))
        assert path != embedded_socket(tmp_path / ("y" * 120))
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        path.parent.rmdir()
        embedded_socket(tmp_path / ("y" * 120)).parent.rmdir()

    def test_stand_in_folder_that_is_a_link_is_refused(self, tmp_path: Path) -> None:
        data_dir = tmp_path / ("x" * 120)
        folder = embedded_socket(data_dir).parent
        folder.rmdir()
        folder.symlink_to(tmp_path)

        with pytest.raises(PermissionError, match="somebody else"):
            embedded_socket(data_dir)
        folder.unlink()
