"""Functions at URLs: the request they get, and what becomes of their response."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from realtime.settings import Settings
from tests.receiver import OK, Answer, Receiver, receiving
from workers.functions.executor import Call, Code, Failure
from workers.functions.executors.http import HttpExecutor
from workers.functions.runs import run
from workers.outbound.guard import Guard
from workers.store.sealing import UnsealError

SECRET = "whsec_" + "c2VjcmV0" * 4


def call(url: str, **said: Any) -> Call:
    code = Code(
        function_id="hello",
        name="Hello",
        runtime="node-22",
        entrypoint=url,
        commands="",
        timeout_s=15,
        scopes=(),
        deployment_id="",
        storage_key="",
        size_bytes=0,
    )
    defaults: dict[str, Any] = {
        "execution_id": "exec1",
        "trigger": "event",
        "method": "POST",
        "path": "/",
        "headers": {"x-appwrite-trigger": "event", "content-type": "application/json"},
        "body": b'{"a":1}',
        "variables": lambda: {"SIGNING_SECRET": SECRET},
    }
    return Call(project_id="demo", code=code, **{**defaults, **said})


@pytest.fixture
async def executor() -> AsyncIterator[HttpExecutor]:
    """An executor that may connect to this machine."""
    executor = HttpExecutor(Guard(allow_private=True), max_response_bytes=1_000)
    yield executor
    await executor.aclose()


class TestRequest:
    async def test_standard_webhooks_library_verifies_it(self, executor: HttpExecutor) -> None:
        async with receiving() as receiver:
            outcome = await executor.execute(call(f"http://127.0.0.1:{receiver.port}/f"))
        assert (outcome.status, outcome.body, outcome.failure) == (200, b"ok", None)
        (request,) = receiver.requests
        assert request.line == "POST /f HTTP/1.1"
        headers = {name: value.decode() for name, value in request.headers}
        assert Webhook(SECRET).verify(request.body, headers) == {"a": 1}
        assert headers["webhook-id"] == "exec1"
        assert headers["x-appwrite-trigger"] == "event"

    async def test_caller_sets_nothing_that_is_the_servers_own(self, executor: HttpExecutor) -> None:
        given = {
            "host": "evil.example", "content-length": "1", "transfer-encoding": "chunked", "connection": "close",
            "webhook-id": "forged", "webhook-signature": "v1,forged", "webhook-timestamp": "1",
            "accept-encoding": "gzip", "x-mine": "é", "cookie": "a=b",
        }  # fmt: skip
        async with receiving() as receiver:
            await executor.execute(call(f"http://127.0.0.1:{receiver.port}", headers=given))
        (request,) = receiver.requests
        assert request.header("host") == f"127.0.0.1:{receiver.port}"
        assert request.header("content-length") == "7"
        assert request.header("webhook-id") == "exec1"
        assert request.header("accept-encoding") == "identity"
        assert dict(request.headers)["x-mine"] == "é".encode()
        assert request.header("cookie") == "a=b"
        assert not {"transfer-encoding"} & {name for name, _ in request.headers}

    async def test_cookies_of_one_call_are_not_sent_with_the_next(self, executor: HttpExecutor) -> None:
        async with receiving(OK.replace(b"\r\n", b"\r\nSet-Cookie: a=b\r\n", 1)) as receiver:
            for _ in range(2):
                outcome = await executor.execute(call(f"http://127.0.0.1:{receiver.port}"))
                assert outcome.headers["set-cookie"] == "a=b"
        assert [name for _, headers, _ in receiver.requests for name, _ in headers if name == "cookie"] == []
        assert receiver.connections == 1

    @pytest.mark.parametrize("variables", [{}, {"SIGNING_SECRET": ""}])
    async def test_nothing_is_sent_without_a_secret(
        self, executor: HttpExecutor, variables: dict[str, str]
    ) -> None:
        async with receiving() as receiver:
            url = f"http://127.0.0.1:{receiver.port}"
            outcome = await executor.execute(call(url, variables=lambda: variables))
        assert outcome.failure is Failure.CRASH
        assert "SIGNING_SECRET" in outcome.errors
        assert receiver.connections == 0

    async def test_secret_that_cannot_be_decrypted_is_a_failure(self, executor: HttpExecutor) -> None:
        def sealed() -> dict[str, str]:
            raise UnsealError

        outcome = await executor.execute(call("http://127.0.0.1:9", variables=sealed))
        assert (outcome.failure, outcome.errors) == (Failure.CRASH, str(UnsealError()))


class TestResponse:
    async def test_whatever_it_is_it_is_the_outcome(self, executor: HttpExecutor) -> None:
        answers = {
            302: b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
            500: b"HTTP/1.1 500 No\r\nX-A: 1\r\nX-A: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
        }
        for status, answer in answers.items():
            async with receiving(answer) as receiver:
                outcome = await executor.execute(call(f"http://127.0.0.1:{receiver.port}"))
            assert (outcome.status, outcome.failure) == (status, None)
            assert len(receiver.requests) == 1
        assert outcome.body == b"no"
        assert outcome.headers == {"x-a": "1, 2"}

    async def test_compressed_body_is_not_unpacked(self, executor: HttpExecutor) -> None:
        answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08"
        async with receiving(answer) as receiver:
            outcome = await executor.execute(call(f"http://127.0.0.1:{receiver.port}"))
        assert (outcome.body, outcome.headers["content-encoding"]) == (b"\x1f\x8b\x08", "gzip")

    async def test_body_without_end_is_cut_off(self, executor: HttpExecutor) -> None:
        async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"64\r\n" + bytes(100) + b"\r\n")
                await writer.drain()

        outcome = await self.outcome(executor, endless)
        assert outcome.failure is Failure.CRASH
        assert "larger than 1000 bytes" in outcome.errors

    async def test_answer_that_is_none_is_a_failure(self, executor: HttpExecutor) -> None:
        async def hangs_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        assert (await self.outcome(executor, hangs_up)).failure is Failure.CRASH
        assert (await self.outcome(executor, b"SSH-2.0-OpenSSH\r\n\r\n")).failure is Failure.CRASH

    async def test_answer_that_is_never_there_is_not_waited_for(self, executor: HttpExecutor) -> None:
        closed = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await reader.read()
            closed.set()

        async with receiving(silent) as receiver:
            outcome = await run(executor, call(f"http://127.0.0.1:{receiver.port}"), limit_s=0.1)
            assert outcome.failure is Failure.TIMEOUT
            await asyncio.wait_for(closed.wait(), 5)

    async def outcome(self, executor: HttpExecutor, answer: bytes | Answer) -> Any:
        async with receiving(answer) as receiver:
            return await executor.execute(call(f"http://127.0.0.1:{receiver.port}"))


class TestTargets:
    async def test_nobody_there_is_unreachable(
        self, executor: HttpExecutor, free_port: Callable[[], int]
    ) -> None:
        outcome = await executor.execute(call(f"http://127.0.0.1:{free_port()}"))
        assert outcome.failure is Failure.UNREACHABLE

    async def test_no_method_is_sent_again_by_itself(self, executor: HttpExecutor) -> None:
        async def once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(receiver.requests) == 1:
                writer.write(OK)
            else:
                writer.close()

        async with receiving(once) as receiver:
            url = f"http://127.0.0.1:{receiver.port}"
            outcomes = [await executor.execute(call(url, method="GET")) for _ in range(2)]
        assert [outcome.failure for outcome in outcomes] == [None, Failure.CRASH]
        assert [request.line for request in receiver.requests] == ["GET / HTTP/1.1"] * 2
        assert receiver.connections == 1

    async def test_path_that_no_url_can_have_is_a_failure(self, executor: HttpExecutor) -> None:
        outcome = await executor.execute(call("http://127.0.0.1:9", path="/" + "a" * 70_000))
        assert (outcome.failure, "path" in outcome.errors) == (Failure.CRASH, True)

    async def test_private_addresses_are_refused_whatever_the_entrypoint_was_checked_for(self) -> None:
        executor = HttpExecutor.from_settings(Settings())
        async with receiving() as receiver:
            for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
                outcome = await executor.execute(call(f"http://{host}:{receiver.port}"))
                assert outcome.failure is Failure.UNREACHABLE
        assert isinstance(receiver, Receiver)
        assert receiver.connections == 0
        await executor.aclose()
