"""Code as processes: limits, what is shared between calls and what is not, and that nothing is left behind."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from workers.functions.executor import Call, Failure, Outcome
from workers.functions.executors import process as module
from workers.functions.executors import supervised
from workers.functions.executors.process import ProcessExecutor
from workers.functions.executors.warm import WarmProcesses
from workers.functions.runs import run as run_limited
from workers.store.sealing import UnsealError

pytestmark = pytest.mark.integration

Deploy = Callable[..., Awaitable[Call]]
Run = Callable[..., Awaitable[Outcome]]
MakeExecutor = Callable[..., ProcessExecutor]

NODE = {"runtime": "node-22"}

PID = "import os\ndef main(context): return context.res.text(str(os.getpid()))"
NODE_PID = "module.exports = ({ res }) => res.text(process.pid)"

NODE_LATE = """
module.exports = ({ log }) => {
  log('before');
  setTimeout(() => { throw new Error('late'); });
  return new Promise(() => {});
};
"""

NODE_FLOOD = """
module.exports = ({ log, res }) => {
  for (let n = 0; n < 20000; n++) log('x'.repeat(99));
  return res.text('done');
};
"""

PYTHON_HANGS = """
import time
def main(c):
 if c.req.path == '/': return c.res.empty()
 else:
"""
NODE_HANGS = "module.exports = async (c) => { if (c.req.path !== '/')"

FILES = """
import os
def main(c):
    names = []
    for number in os.listdir('/proc/self/fd'):
        try:
            names.append(os.readlink(f'/proc/self/fd/{number}'))
        except OSError:
            pass
    return c.res.json(names)
"""
NODE_FILES = """
const fs = require('node:fs');
module.exports = ({ res }) => res.json(fs.readdirSync('/proc/self/fd').map((number) => {
  try { return fs.readlinkSync('/proc/self/fd/' + number); } catch { return ''; }
}));
"""

DAEMON = "subprocess.run(['sh', '-c', '(setsid sleep 60 &) &'])"

BOTH_PIDS = [pytest.param(PID, {}, id="python"), pytest.param(NODE_PID, NODE, id="node")]


def processes_with(text: str) -> list[int]:
    """Return the processes that have `text` in their environment or command line, but for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (path / "environ").read_bytes() + (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return [pid for pid in found if pid != os.getpid()]


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.01)


def with_path(call: Call, path: str) -> Call:
    return dataclasses.replace(call, path=path)


class TestEnvironment:
    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("import os\ndef main(c): return c.res.json(dict(os.environ))", {}),
            ("module.exports = ({ res }) => res.json(process.env)", NODE),
        ],
    )
    async def test_it_has_the_variables_and_nothing_of_the_server(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, source: str, said: dict[str, Any]
    ) -> None:
        monkeypatch.setenv("REALTIME_SECRET", "of the server")
        variables = {"MINE": "ü", "LANG": "C", "APPWRITE_FUNCTION_ID": "another"}
        outcome = await run(source, **said, variables=lambda: variables)
        found = json.loads(outcome.body)
        assert (found["MINE"], found["LANG"], found["APPWRITE_FUNCTION_ID"]) == ("ü", "C", "hello")
        assert found["APPWRITE_FUNCTION_PROJECT_ID"] == "demo"
        assert found["APPWRITE_FUNCTION_API_ENDPOINT"] == "http://api.test/v1"
        assert found["APPWRITE_FUNCTION_RUNTIME_VERSION"] in {"3.11", "22"}
        names = {name for name in found if not name.startswith("APPWRITE_")}
        # Shells and runtimes add a few of their own.
        assert names - {"LC_CTYPE", "PWD", "SHLVL", "_"} == {
            "HOME", "LANG", "MINE", "PATH", "PIP_TARGET", "PYTHONPATH",
        }  # fmt: skip

    @pytest.mark.parametrize(("runtime", "source"), [("python-3.11", FILES), ("node-22", NODE_FILES)])
    async def test_it_has_nothing_open_that_the_server_has(
        self, run: Run, runtime: str, source: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # What uvloop does, and asyncio does not: what can be inherited is.
        start = asyncio.create_subprocess_exec

        async def with_all(*command: str, pass_fds: tuple[int, ...], **said: Any) -> Any:
            for descriptor in pass_fds:
                os.set_inheritable(descriptor, True)
            return await start(*command, close_fds=False, **said)

        monkeypatch.setattr(asyncio, "create_subprocess_exec", with_all)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.set_inheritable(True)
            of_server = f"socket:[{os.fstat(listening.fileno()).st_ino}]"
            found = json.loads((await run(source, runtime=runtime)).body)
        assert of_server not in found
        # Nothing but the one that calls come by.
        assert len([name for name in found if name.startswith("socket:")]) == 1

    async def test_changed_variable_counts_at_once(self, executor: ProcessExecutor, deploy: Deploy) -> None:
        variables = {"A": "1"}
        call = await deploy(
            "import os\ndef main(c): return c.res.text(os.environ['A'])", variables=lambda: dict(variables)
        )
        assert (await executor.execute(call)).body == b"1"
        variables["A"] = "2"
        assert (await executor.execute(call)).body == b"2"

    async def test_variables_that_cannot_be_decrypted_are_a_failure(self, run: Run) -> None:
        def sealed() -> dict[str, str]:
            raise UnsealError

        outcome = await run(PID, variables=sealed)
        assert (outcome.failure, outcome.errors) == (Failure.CRASH, str(UnsealError()))

    async def test_it_runs_in_its_folder_and_files_are_its_own(self, run: Run) -> None:
        source = (
            "import os, stat\ndef main(c):\n open('new', 'w').close()\n"
            " return c.res.json([os.getcwd(), stat.S_IMODE(os.stat('new').st_mode)])"
        )
        folder, mode = json.loads((await run(source)).body)
        assert Path(folder).name == "code"
        assert mode == 0o600


class TestWarmth:
    @pytest.mark.parametrize(("source", "said"), BOTH_PIDS)
    async def test_process_serves_one_call_after_another(
        self, executor: ProcessExecutor, deploy: Deploy, source: str, said: dict[str, Any]
    ) -> None:
        call = await deploy(source, **said)
        assert len({(await executor.execute(call)).body for _ in range(5)}) == 1

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("import time\ndef main(c):\n time.sleep(0.3)\n return c.res.text(str(__import__('os').getpid()))", {}),
            ("module.exports = (c) => new Promise((r) => setTimeout(() => r(c.res.text(process.pid)), 300))", NODE),
        ],
    )  # fmt: skip
    async def test_calls_at_once_have_a_process_each(
        self, executor: ProcessExecutor, deploy: Deploy, source: str, said: dict[str, Any]
    ) -> None:
        call = await deploy(source, **said)
        outcomes = await asyncio.gather(*(executor.execute(call) for _ in range(3)))
        assert len({outcome.body for outcome in outcomes}) == 3

    async def test_other_deployment_is_another_process(
        self, executor: ProcessExecutor, deploy: Deploy
    ) -> None:
        first = await deploy("def main(c): return c.res.text('1')")
        second = await deploy("def main(c): return c.res.text('2')")
        bodies = [(await executor.execute(each)).body for each in (first, second, first, second)]
        assert bodies == [b"1", b"2", b"1", b"2"]

    @pytest.mark.parametrize("failing", ["raise RuntimeError", "return None", "os._exit(3)"])
    async def test_process_that_failed_serves_no_more(
        self, executor: ProcessExecutor, deploy: Deploy, failing: str
    ) -> None:
        source = (
            f"import os\ndef main(c):\n if c.req.path == '/fail': {failing}\n"
            " return c.res.text(str(os.getpid()))"
        )
        call = await deploy(source)
        first = await executor.execute(call)
        failed = await executor.execute(with_path(call, "/fail"))
        assert failed.failure is Failure.CRASH
        second = await executor.execute(call)
        assert second.failure is None
        assert first.body != second.body

    async def test_process_that_ends_while_it_waits_is_replaced(
        self, executor: ProcessExecutor, deploy: Deploy
    ) -> None:
        call = await deploy(PID)
        pid = int((await executor.execute(call)).body)
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not Path(f"/proc/{pid}").exists())
        await asyncio.sleep(0)
        outcome = await executor.execute(call)
        assert outcome.failure is None
        assert int(outcome.body) != pid

    async def test_output_between_calls_belongs_to_none(
        self, executor: ProcessExecutor, deploy: Deploy, tmp_path: Path
    ) -> None:
        source = (
            "import threading, time, pathlib\ndef late(path):\n print('late'); pathlib.Path(path).touch()\n"
            "def main(c):\n"
            " if c.req.path != '/': threading.Timer(0.05, late, [c.req.path]).start()\n"
            " c.log('in time')\n return c.res.empty()"
        )
        call = await deploy(source)
        mark = tmp_path / "mark"
        assert (await executor.execute(with_path(call, str(mark)))).logs == "in time\n"
        await until(mark.exists)
        assert (await executor.execute(call)).logs == "in time\n"

    async def test_idle_and_used_up_processes_are_ended(
        self, make_executor: MakeExecutor, deploy: Deploy
    ) -> None:
        call = await deploy(PID)
        for limits in ({"idle_s": 0.01}, {"max_calls": 1}, {"max_idle": 0}):
            executor = make_executor(warm=WarmProcesses(**limits))
            pid = int((await executor.execute(call)).body)
            await until(lambda pid=pid: not Path(f"/proc/{pid}").exists())  # type: ignore[misc]
            assert (await executor.execute(call)).failure is None
            await executor.aclose()


class TestLimits:
    @pytest.mark.parametrize(
        ("source", "said"),
        [
            (f"{PYTHON_HANGS}  print('begun')\n  while True: pass", {}),
            (f"{PYTHON_HANGS}  c.log('begun')\n  time.sleep(60)", {}),
            (f"{NODE_HANGS} {{ console.log('begun'); while (true); }}; return c.res.empty(); }}", NODE),
            (
                f"{NODE_HANGS} {{ c.log('begun'); await new Promise(() => {{}}); }}; return c.res.empty(); }}",
                NODE,
            ),
        ],
    )
    async def test_endless_code_is_ended_in_time(
        self, executor: ProcessExecutor, deploy: Deploy, source: str, said: dict[str, Any], tmp_path: Path
    ) -> None:
        call = await deploy(source, **said)
        # Once, so that how long it takes to start does not matter.
        assert (await executor.execute(call)).status == 204
        outcome = await run_limited(executor, with_path(call, "/hang"), limit_s=0.3)
        assert outcome.failure is Failure.TIMEOUT
        # What it had logged until then is the more wanted.
        assert outcome.logs.endswith("begun\n")
        assert not processes_with(str(tmp_path))

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def main(c):\n kept = []\n while True: kept.append(bytes(10_000_000))", {}),
            ("module.exports = () => { const kept = []; for (;;) kept.push(new Array(1e6).fill(kept.length)); }", NODE),
            ("module.exports = () => { const kept = []; for (;;) kept.push(Buffer.alloc(1e7, 1)); }", NODE),
        ],
    )  # fmt: skip
    async def test_memory_is_limited(self, run: Run, source: str, said: dict[str, Any]) -> None:
        outcome = await run(source, **said)
        assert outcome.failure is Failure.CRASH
        assert outcome.errors

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def main(c):\n for n in range(20_000): c.log('x' * 99)\n return c.res.text('done')", {}),
            (NODE_FLOOD, NODE),
        ],
    )  # fmt: skip
    async def test_output_is_cut(self, run: Run, source: str, said: dict[str, Any]) -> None:
        outcome = await run(source, **said)
        assert outcome.body == b"done"
        assert 10_000 <= len(outcome.logs) < 10_200
        assert "too long" in outcome.logs

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def main(c): return c.res.binary(bytes(int(c.req.body)))", {}),
            ("module.exports = ({ req, res }) => res.binary(Buffer.alloc(Number(req.body)))", NODE),
        ],
    )
    async def test_response_is_limited(
        self, executor: ProcessExecutor, deploy: Deploy, source: str, said: dict[str, Any]
    ) -> None:
        call = await deploy(source, **said, body=b"1000000")
        assert len((await executor.execute(call)).body) == 1_000_000
        outcome = await executor.execute(dataclasses.replace(call, body=b"1000001"))
        assert outcome.failure is Failure.CRASH
        assert "larger than 1000000 bytes" in outcome.errors

    @pytest.mark.parametrize(
        ("source", "said"),
        [
            ("def main(c): return c.res.text(str(len(c.req.body_binary)))", {}),
            ("module.exports = ({ req, res }) => res.text(req.bodyBinary.length)", NODE),
        ],
    )
    async def test_large_body_arrives(self, run: Run, source: str, said: dict[str, Any]) -> None:
        assert (await run(source, **said, body=bytes(5_000_000))).body == b"5000000"


class TestEndings:
    @pytest.mark.parametrize(
        ("source", "said", "text"),
        [
            ("import sys\ndef main(c):\n c.log('before')\n sys.exit(3)", {}, "exit code 3"),
            ("import os\ndef main(c):\n print('before')\n os.abort()", {}, "signal 6"),
            ("module.exports = ({ log }) => { log('before'); process.exit(3) }", NODE, "exit code 3"),
            ("module.exports = ({ log }) => { log('before'); process.kill(process.pid, 'SIGKILL') }", NODE, "signal 9"),
            (NODE_LATE, NODE, "late"),
        ],
    )  # fmt: skip
    async def test_process_that_ends_before_it_answers_says_how(
        self, run: Run, source: str, said: dict[str, Any], text: str
    ) -> None:
        outcome = await run(source, **said)
        assert (outcome.status, outcome.failure) == (500, Failure.CRASH)
        assert text in outcome.errors
        assert "before" in outcome.logs

    @pytest.mark.parametrize(
        "start",
        [
            "subprocess.Popen(['sleep', '60'])",
            "subprocess.Popen(['sleep', '60'], start_new_session=True)",
            "subprocess.run(['sh', '-c', '(setsid sleep 60 &) &'])",
            "os.fork() or (os.setsid(), os.fork() or time.sleep(60), os._exit(0))",
        ],
    )
    async def test_whatever_it_started_ends_with_it(
        self, executor: ProcessExecutor, deploy: Deploy, start: str, tmp_path: Path
    ) -> None:
        source = (
            f"import os, subprocess, time\ndef main(c):\n {start}\n"
            " open('begun', 'w').close()\n time.sleep(60)"
        )
        running = asyncio.create_task(executor.execute(await deploy(source)))
        await until(lambda: any((tmp_path / "functions").glob("*/code/begun")))
        await until(lambda: len(processes_with(str(tmp_path))) >= 3)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes_with(str(tmp_path))

    async def test_whatever_it_started_ends_when_the_supervisor_is_killed_by_it(
        self, run: Run, tmp_path: Path
    ) -> None:
        source = (
            "import os, signal, subprocess, time\ndef main(c):\n subprocess.Popen(['sleep', '60'])\n"
            " os.kill(os.getppid(), signal.SIGKILL)\n time.sleep(60)"
        )
        outcome = await run(source)
        assert outcome.failure is Failure.CRASH
        await until(lambda: not processes_with(str(tmp_path)))

    async def test_supervisor_that_was_stopped_ends_everything_all_the_same(
        self, run: Run, tmp_path: Path
    ) -> None:
        source = (
            f"import os, signal, subprocess\ndef main(c):\n {DAEMON}\n"
            " os.kill(os.getppid(), signal.SIGSTOP)\n raise RuntimeError('to be ended')"
        )
        async with asyncio.timeout(supervised.END_TIMEOUT_S):
            assert (await run(source)).failure is Failure.CRASH
        assert not processes_with(str(tmp_path))

    async def test_supervisor_that_is_kept_stopped_does_not_keep_anything_running(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(supervised, "END_TIMEOUT_S", 0.5)
        # As good as a process that stops it whenever it goes on.
        monkeypatch.setattr(signal, "SIGCONT", signal.SIGSTOP)
        source = (
            f"import os, signal, subprocess\ndef main(c):\n {DAEMON}\n"
            " os.kill(os.getppid(), signal.SIGSTOP)\n raise RuntimeError('to be ended')"
        )
        assert (await run(source)).failure is Failure.CRASH
        await until(lambda: not processes_with(str(tmp_path)))

    async def test_cancelling_twice_does_not_leave_it_running(
        self, executor: ProcessExecutor, deploy: Deploy, tmp_path: Path
    ) -> None:
        source = "import time\ndef main(c):\n open('begun', 'w').close()\n time.sleep(60)"
        running = asyncio.create_task(executor.execute(await deploy(source)))
        await until(lambda: any((tmp_path / "functions").glob("*/code/begun")))
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not processes_with(str(tmp_path))

    async def test_nothing_outlives_a_server_that_is_killed(
        self, deploy: Deploy, tmp_path: Path, server: "Server"
    ) -> None:
        source = (
            "import subprocess, time\ndef main(c):\n"
            " subprocess.Popen(['setsid', 'sleep', '60'])\n open('begun', 'w').close()\n while True: pass"
        )
        node = (
            "module.exports = () => { require('node:child_process').spawn('sleep', ['60'], { detached: true });"
            " require('node:fs').writeFileSync('begun', ''); while (true); }"
        )
        calls = [await deploy(source), await deploy(node, **NODE)]
        killed = server(calls)
        await until(lambda: len(list((tmp_path / "functions").glob("*/code/begun"))) == 2)
        assert len(processes_with(str(tmp_path))) >= 6
        killed()
        await until(lambda: not processes_with(str(tmp_path)))


Server = Callable[[list[Call]], Callable[[], None]]

SERVING = """
import asyncio, sys
from pathlib import Path
from workers.files.folder import FolderStore
from workers.functions.executor import Call, Code
from workers.functions.executors.process import ProcessExecutor
from workers.functions.executors.runtimes import Runtimes

async def main(folder, codes):
    runtimes = Runtimes(sys.executable, "node", "", 256 * 1024 * 1024)
    executor = ProcessExecutor(
        folder / "functions", FolderStore(folder / "files"), runtimes, max_output_bytes=1000, max_response_bytes=1000
    )
    calls = [Call("demo", code, "e", "http", "POST", "/", {}, b"", dict) for code in codes]
    await asyncio.gather(*map(executor.execute, calls))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Start a process with an executor of its own, that runs calls; returns what kills it."""
    started: list[subprocess.Popen[bytes]] = []

    def start(calls: list[Call]) -> Callable[[], None]:
        codes = ", ".join(repr(call.code) for call in calls)
        (tmp_path / "serving.py").write_text(
            f"{SERVING}\nasyncio.run(main(Path({str(tmp_path)!r}), [{codes}]))"
        )
        process = subprocess.Popen(
            [sys.executable, str(tmp_path / "serving.py")],
            cwd=Path.cwd(),
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        started.append(process)

        def kill() -> None:
            process.kill()
            process.wait()

        return kill

    yield start
    for process in started:
        process.kill()
        process.wait()


class TestCommands:
    async def test_they_run_once_in_the_folder_with_the_variables(
        self, executor: ProcessExecutor, deploy: Deploy
    ) -> None:
        call = await deploy(
            "import extra\ndef main(c): return c.res.text(extra.text)",
            commands="mkdir -p $PYTHONPATH; echo \"text = '$A$(ls)'\" >> $PYTHONPATH/extra.py",
            variables=lambda: {"A": "with "},
        )
        assert (await executor.execute(call)).body == b"with main.py"
        assert (await executor.execute(call)).body == b"with main.py"

    async def test_what_they_wrote_is_kept_beside_the_code_and_its_end_logged(
        self, executor: ProcessExecutor, deploy: Deploy, tmp_path: Path
    ) -> None:
        call = await deploy(PID, commands="seq 1 1000; echo a warning >&2")
        with structlog.testing.capture_logs() as logs:
            assert (await executor.execute(call)).failure is None
        (kept,) = tmp_path.rglob("commands.log")  # noqa: ASYNC240
        assert kept.parent.joinpath("ready").exists()
        assert kept.read_text().startswith("1\n2\n")
        assert kept.read_text().endswith("1000\na warning\n")
        (ended,) = (log for log in logs if log["event"] == "commands of a deployment ended")
        assert (ended["log_level"], ended["deployment"]) == ("info", call.code.deployment_id)
        assert len(ended["output"]) == 2000
        assert ended["output"].endswith("1000\na warning")

    async def test_failure_says_what_they_wrote_and_counts_for_a_while(
        self, executor: ProcessExecutor, deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = tmp_path / "tried"
        call = await deploy(PID, commands=f"echo x >> {tried}; echo a reason >&2; exit 4")
        for _ in range(2):
            outcome = await executor.execute(call)
            assert outcome.failure is Failure.CRASH
            assert "exit code 4.\na reason" in outcome.errors
        assert tried.read_text() == "x\n"
        monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + 11)
        await executor.execute(call)
        assert tried.read_text() == "x\nx\n"

    async def test_they_have_limited_time(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(module, "COMMANDS_TIMEOUT_S", 1.0)
        outcome = await run(PID, commands="echo begun; sleep 60 & wait")
        assert "ended after 1 seconds.\nbegun" in outcome.errors
        assert not processes_with(str(tmp_path))

    async def test_they_go_on_when_the_call_was_too_slow_for_them(
        self, executor: ProcessExecutor, deploy: Deploy, tmp_path: Path
    ) -> None:
        may_end = tmp_path / "may-end"
        call = await deploy(PID, commands=f"while [ ! -e {may_end} ]; do sleep 0.02; done")
        assert (await run_limited(executor, call, limit_s=0.3)).failure is Failure.TIMEOUT
        may_end.touch()
        assert (await executor.execute(call)).failure is None

    async def test_they_end_with_the_executor(
        self, make_executor: MakeExecutor, deploy: Deploy, tmp_path: Path
    ) -> None:
        executor = make_executor()
        call = await deploy(PID, commands="sleep 60")
        assert (await run_limited(executor, call, limit_s=0.3)).failure is Failure.TIMEOUT
        await until(lambda: bool(processes_with(str(tmp_path))))
        await executor.aclose()
        assert not processes_with(str(tmp_path))
