"""Which executor runs a function."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from realtime.settings import Settings
from tests.receiver import receiving
from workers.files.folder import FolderStore
from workers.functions.executor import Call, Failure
from workers.functions.executors.chosen import ChosenExecutor

pytestmark = pytest.mark.integration

Deploy = Callable[..., Awaitable[Call]]

SOURCE = "def main(context): return context.res.text('from a process')"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, webhooks_allow_private=True)


class TestChosenExecutor:
    @pytest.mark.parametrize("entrypoint", ["main.py", "http.py"])
    async def test_code_needs_processes(
        self, settings: Settings, files: FolderStore, deploy: Deploy, entrypoint: str
    ) -> None:
        call = await deploy(SOURCE, entrypoint=entrypoint)
        for wanted, bodies in ((None, b""), (True, b"from a process")):
            executor = ChosenExecutor.from_settings(settings, files, processes=wanted)
            outcome = await executor.execute(call)
            assert outcome.body == bodies
            if not wanted:
                assert outcome.failure is Failure.NO_EXECUTOR
                assert "REALTIME_FUNCTIONS_EXECUTOR=process" in outcome.errors
            await executor.aclose()

    async def test_setting_asks_for_processes(
        self, settings: Settings, files: FolderStore, deploy: Deploy
    ) -> None:
        asking = settings.model_copy(update={"functions_executor": "process"})
        executor = ChosenExecutor.from_settings(asking, files)
        assert (await executor.execute(await deploy(SOURCE))).body == b"from a process"
        await executor.aclose()

    async def test_url_is_called_whatever_runs_code(
        self, settings: Settings, files: FolderStore, deploy: Deploy
    ) -> None:
        async with receiving() as receiver:
            call = await deploy(
                {"main.py": SOURCE},
                entrypoint=f"HTTP://127.0.0.1:{receiver.port}/",
                variables=lambda: {"SIGNING_SECRET": "a secret"},
            )
            for wanted in (True, False):
                executor = ChosenExecutor.from_settings(settings, files, processes=wanted)
                assert (await executor.execute(call)).body == b"ok"
                await executor.aclose()
        assert len(receiver.requests) == 2
