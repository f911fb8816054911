"""Deployments of functions, on both databases."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.api import Api
from workers.api.uploads import pending
from workers.files.discards import Discards
from workers.files.folder import FolderStore
from workers.store.tables import uploads

Archive = Callable[..., bytes]
Deploy = Callable[..., Awaitable[dict[str, Any]]]

PATH = "/v1/functions/hello/deployments"


async def upload(
    api: Api, content: bytes, *, headers: dict[str, str] | None = None, **fields: str
) -> httpx.Response:
    return await api.server.post(
        PATH,
        data={"activate": "false"} | fields,
        files={"code": ("code.tar.gz", content, "application/gzip")},
        headers=headers or {},
    )


async def count_files(api: Api, *, upload_lifetime_s: float = 3600) -> int:
    """Return how many files there are on the disk, after what is discarded has been removed."""
    services = api.services
    await Discards(services.store.database, services.files, upload_lifetime_s=upload_lifetime_s).sweep()
    return len(stored_files(api))


def stored_files(api: Api) -> list[Path]:
    folder = api.services.settings.data_dir / "files"
    return [path for path in folder.rglob("*") if path.is_file()]


async def count_uploads(api: Api) -> int:
    async with api.services.store.read() as connection:
        found = await connection.execute(select(func.count()).select_from(uploads))
        return int(found.scalar_one())


@pytest.fixture
async def function(api: Api) -> str:
    body = {"functionId": "hello", "name": "Hello", "runtime": "node-22", "entrypoint": "main.js"}
    assert (await api.server.post("/v1/functions", json=body)).status_code == 201
    return "hello"


@pytest.mark.usefixtures("function")
class TestCreate:
    async def test_upload_is_a_deployment_that_is_ready(self, api: Api, archive: Archive) -> None:
        content = archive()
        answer = await upload(api, content, commands="npm install")
        assert answer.status_code == 202
        deployment = answer.json()
        assert "commands run before the first execution" in deployment["buildLogs"]
        told = (
            "type",
            "resourceId",
            "resourceType",
            "entrypoint",
            "sourceSize",
            "totalSize",
            "status",
            "activate",
        )
        assert [deployment[name] for name in told] == [
            "manual", "hello", "functions", "main.js", len(content), len(content), "ready", False,
        ]  # fmt: skip
        assert (await api.server.get(f"{PATH}/{deployment['$id']}")).json() == deployment
        listed = (await api.server.get(PATH)).json()
        assert (listed["total"], listed["deployments"]) == (1, [deployment])
        event = (await api.published())[-1]
        assert event.name == f"functions.hello.deployments.{deployment['$id']}.create"
        assert event.payload == deployment
        function = (await api.server.get("/v1/functions/hello")).json()
        assert (function["deploymentId"], function["latestDeploymentId"]) == ("", deployment["$id"])

    async def test_without_commands_there_is_nothing_to_build(self, api: Api, archive: Archive) -> None:
        deployment = (await upload(api, archive())).json()
        assert deployment["buildLogs"] == "There is nothing to build: the archive is run as it is.\n"

    async def test_activation_comes_with_the_deployment(self, api: Api, archive: Archive) -> None:
        deployment = (await upload(api, archive(), activate="true", entrypoint="src/main.js")).json()
        function = (await api.server.get("/v1/functions/hello")).json()
        assert function["deploymentId"] == function["latestDeploymentId"] == deployment["$id"]
        # It was made with another entrypoint than the function has.
        assert function["live"] is False
        assert (await api.names())[-2:] == [
            f"functions.hello.deployments.{deployment['$id']}.create",
            "functions.hello.update",
        ]

    async def test_chunks_make_a_deployment_when_the_last_is_there(self, api: Api, archive: Archive) -> None:
        content = archive(content=bytes(range(256)) * 4)
        middle = len(content) // 2 + 1

        def part(start: int, end: int, **more: str) -> dict[str, str]:
            return {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}", **more}

        first = await upload(api, content[:middle], headers=part(0, middle), activate="true")
        assert first.status_code == 202
        waiting = first.json()
        assert (waiting["status"], waiting["sourceSize"]) == ("waiting", len(content))
        assert (await api.server.get(f"{PATH}/{waiting['$id']}")).json()["status"] == "waiting"
        assert (await api.server.get(PATH)).json()["total"] == 0
        answer = await api.server.patch(
            "/v1/functions/hello/deployment", json={"deploymentId": waiting["$id"]}
        )
        assert answer.json()["type"] == "deployment_not_found"
        last = part(middle, len(content), **{"X-Appwrite-ID": waiting["$id"]})
        ready = (await upload(api, content[middle:], headers=last, activate="true")).json()
        assert (ready["$id"], ready["status"]) == (waiting["$id"], "ready")
        # Whoever lost the answer may ask again.
        again = await upload(api, content[middle:], headers=last, activate="true")
        assert (again.status_code, again.json()) == (202, ready)
        downloaded = await api.server.get(f"{PATH}/{ready['$id']}/download")
        assert downloaded.content == content
        assert (await api.server.get("/v1/functions/hello")).json()["deploymentId"] == ready["$id"]
        assert await count_files(api) == 1

    async def test_chunk_that_comes_once_more_while_the_last_is_recorded_is_answered_with_the_deployment(
        self, api: Api, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = archive()
        first = {"Content-Range": f"bytes 0-99/{len(content)}"}
        waiting = (await upload(api, content[:100], headers=first)).json()
        assert len(content) <= 200
        last = {
            "Content-Range": f"bytes 100-{len(content) - 1}/{len(content)}",
            "X-Appwrite-ID": waiting["$id"],
        }
        record = pending._record

        async def complete_first(*arguments: Any) -> Any:
            patch.undo()
            assert (await upload(api, content[100:], headers=last)).json()["status"] == "ready"
            return await record(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(pending, "_record", complete_first)
            answer = await upload(api, content[100:], headers=last)
        assert (answer.status_code, answer.json().get("status")) == (202, "ready")
        assert answer.json()["$id"] == waiting["$id"]

    async def test_upload_can_be_canceled_until_it_is_complete(self, api: Api, archive: Archive) -> None:
        content = archive()
        headers = {"Content-Range": f"bytes 0-9/{len(content)}"}
        waiting = (await upload(api, content[:10], headers=headers)).json()
        canceled = await api.server.patch(f"{PATH}/{waiting['$id']}/status")
        assert (canceled.status_code, canceled.json()["status"]) == (200, "canceled")
        assert (await api.server.get(f"{PATH}/{waiting['$id']}")).status_code == 404
        assert await count_files(api) == 0
        ready = (await upload(api, content)).json()
        answer = await api.server.patch(f"{PATH}/{ready['$id']}/status")
        assert (answer.status_code, answer.json()["type"]) == (400, "build_already_completed")

    async def test_archive_of_no_use_is_refused_and_leaves_nothing(self, api: Api, archive: Archive) -> None:
        for content in (
            b"no archive at all",
            archive("../../etc/passwd"),
            archive("/etc/passwd"),
            archive()[:-9],
        ):
            answer = await upload(api, content)
            assert (answer.status_code, answer.json()["type"]) == (400, "deployment_archive_invalid"), content
        assert (await api.server.get(PATH)).json()["total"] == 0
        assert await count_files(api) == 0

    async def test_request_that_breaks_a_rule_is_refused(self, api: Api, archive: Archive) -> None:
        answers = [
            await upload(api, archive(), activate="perhaps"),
            await upload(api, archive(), entrypoint="e" * 1029),
            await upload(api, b""),
            await upload(api, archive(), headers={"X-Appwrite-ID": "../up", "Content-Range": "bytes 0-1/2"}),
            await api.server.post(PATH, json={"activate": True}),
        ]
        assert [answer.status_code for answer in answers] == [400] * 5
        await api.server.put("/v1/functions/hello", json={"name": "Hello"})
        answer = await upload(api, archive())
        assert (answer.status_code, answer.json()["type"]) == (404, "function_entrypoint_missing")
        assert await count_files(api) == 0

    async def test_other_sources_are_refused_plainly(self, api: Api) -> None:
        for source in ("template", "vcs"):
            answer = await api.server.post(f"{PATH}/{source}", json={"type": "branch", "reference": "main"})
            assert (answer.status_code, answer.json()["type"]) == (501, "general_not_implemented")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestSize:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"functions_deployment_max_bytes": 100}

    async def test_archive_that_is_too_large_is_refused(
        self, api: Api, archive: Archive, function: str
    ) -> None:
        assert len(archive()) > 100
        answer = await upload(api, archive())
        assert (answer.status_code, answer.json()["type"]) == (400, "storage_invalid_file_size")
        assert function == "hello"
        assert await count_files(api) == 0


@pytest.mark.usefixtures("function")
class TestUse:
    async def test_download_is_what_was_uploaded(self, api: Api, archive: Archive) -> None:
        deployment = (await upload(api, archive())).json()
        answer = await api.server.get(f"{PATH}/{deployment['$id']}/download")
        assert (answer.status_code, answer.content) == (200, archive())
        assert answer.headers["content-disposition"].startswith("attachment")
        part = await api.server.get(f"{PATH}/{deployment['$id']}/download", headers={"Range": "bytes=0-1"})
        assert (part.status_code, part.content) == (206, archive()[:2])
        output = await api.server.get(f"{PATH}/{deployment['$id']}/download", params={"type": "output"})
        assert output.status_code == 501

    async def test_another_deployment_can_be_activated(self, api: Api, archive: Archive) -> None:
        first = (await upload(api, archive(), activate="true")).json()["$id"]
        second = (await upload(api, archive())).json()["$id"]
        answer = await api.server.patch("/v1/functions/hello/deployment", json={"deploymentId": second})
        assert answer.status_code == 200
        assert answer.json()["deploymentId"] == second
        event = (await api.published())[-1]
        assert (event.name, event.payload) == ("functions.hello.update", answer.json())
        assert (await api.server.delete(f"{PATH}/{first}")).status_code == 204
        assert (await api.server.get("/v1/functions/hello")).json()["deploymentId"] == second
        assert await count_files(api) == 1

    async def test_function_has_none_when_its_active_one_is_deleted(self, api: Api, archive: Archive) -> None:
        deployment = (await upload(api, archive(), activate="true")).json()
        assert (await api.server.delete(f"{PATH}/{deployment['$id']}")).status_code == 204
        events = (await api.published())[-2:]
        assert [event.name for event in events] == [
            f"functions.hello.deployments.{deployment['$id']}.delete",
            "functions.hello.update",
        ]
        function = (await api.server.get("/v1/functions/hello")).json()
        assert (function["deploymentId"], function["latestDeploymentId"]) == ("", "")
        assert await count_files(api) == 0
        assert (await api.server.delete(f"{PATH}/{deployment['$id']}")).status_code == 404

    async def test_duplicate_has_the_settings_of_now_and_lives_alone(
        self, api: Api, archive: Archive
    ) -> None:
        original = (await upload(api, archive(), activate="true")).json()
        body = {"name": "Hello", "entrypoint": "new.js"}
        assert (await api.server.put("/v1/functions/hello", json=body)).json()["live"] is False
        answer = await api.server.post(f"{PATH}/duplicate", json={"deploymentId": original["$id"]})
        assert answer.status_code == 202
        duplicate = answer.json()
        assert (duplicate["entrypoint"], duplicate["status"]) == ("new.js", "ready")
        function = (await api.server.get("/v1/functions/hello")).json()
        assert (function["deploymentId"], function["live"]) == (duplicate["$id"], True)
        await api.server.delete(f"{PATH}/{original['$id']}")
        await count_files(api)
        assert (await api.server.get(f"{PATH}/{duplicate['$id']}/download")).content == archive()
        answer = await api.server.post(f"{PATH}/duplicate", json={"deploymentId": original["$id"]})
        assert answer.json()["type"] == "deployment_not_found"

    async def test_duplicate_of_bytes_that_are_gone_is_not_found(self, api: Api, archive: Archive) -> None:
        original = (await upload(api, archive())).json()
        for path in stored_files(api):
            path.unlink()
        answer = await api.server.post(f"{PATH}/duplicate", json={"deploymentId": original["$id"]})
        assert (answer.status_code, answer.json()["type"]) == (404, "deployment_not_found")
        assert (await api.server.get(PATH)).json()["total"] == 1
        assert await count_uploads(api) == 0

    async def test_duplicate_that_a_crash_cuts_short_leaves_no_bytes(
        self, api: Api, archive: Archive, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        original = (await upload(api, archive())).json()
        copied, killed = asyncio.Event(), asyncio.Event()
        copy = FolderStore.copy

        async def copy_then_die(store: FolderStore, source: str, key: str) -> None:
            await copy(store, source, key)
            copied.set()
            await killed.wait()

        monkeypatch.setattr(FolderStore, "copy", copy_then_die)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            request = tasks.create_task(
                api.server.post(f"{PATH}/duplicate", json={"deploymentId": original["$id"]})
            )
            await copied.wait()
            # What is known and done after a crash, once the lifetime of uploads is over.
            assert len(stored_files(api)) == 2
            assert await count_uploads(api) == 1
            assert await count_files(api, upload_lifetime_s=-1) == 1
            killed.set()
        # One that was only slow is told, and leaves nothing either.
        assert request.result().status_code == 400
        assert await count_files(api) == 1

    async def test_function_takes_its_archives_along_and_what_is_being_uploaded(
        self, api: Api, archive: Archive
    ) -> None:
        await upload(api, archive())
        headers = {"Content-Range": f"bytes 0-9/{len(archive())}"}
        await upload(api, archive()[:10], headers=headers)
        assert await count_files(api) == 2
        await api.server.delete("/v1/functions/hello")
        assert await count_files(api) == 0
