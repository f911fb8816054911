"""How many functions a second one function worker runs for events, on one core.

From the event in Redis to the end of the execution in PostgreSQL. The function does nothing: once it lives at a URL,
and is called by a signed request; once it is a deployment in Python, which runs in processes of its own. The peer is
saq, a queue of jobs in Redis: its job posts to the same URL with httpx, or calls such a function in the worker itself.
PostgreSQL keeps what it answers; it, Valkey and the endpoint share the other cores.

    python -m benchmarks.triggers [--events 3000] [--concurrency 10] [--rounds 2]
"""

import argparse
import io
import sys
import tarfile
import tempfile
from pathlib import Path

import uvloop

from benchmarks.api import database
from benchmarks.common import Table, options_of, say, show
from benchmarks.jobs import (
    EVENT,
    Result,
    ask,
    best_of,
    counting,
    listening,
    measure,
    measure_saq,
    ours,
    project,
    publish,
    row_of,
)
from benchmarks.servers import valkey
from realtime.settings import Settings
from tests.api import Api
from workers.store import tables

CODE = b"def main(context):\n    return context.res.empty()\n"


async def make_function(api: Api, entrypoint: str) -> None:
    """Make the function, with its code if it is not a URL."""
    body = {
        "functionId": "nothing",
        "name": "Nothing",
        "runtime": "python-3.11",
        "entrypoint": entrypoint,
        "events": [EVENT],
    }
    await ask(api, "/v1/functions", body)
    if entrypoint.startswith("http"):
        variable = {"variableId": "secret", "key": "SIGNING_SECRET", "value": "a-secret-of-the-benchmark"}
        await ask(api, "/v1/functions/nothing/variables", variable)
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(entrypoint)
        member.size = len(CODE)
        archive.addfile(member, io.BytesIO(CODE))
    answer = await api.server.post(
        "/v1/functions/nothing/deployments",
        data={"activate": "true"},
        files={"code": ("code.tar.gz", packed.getvalue())},
    )
    if answer.is_error:
        sys.exit(f"the code: {answer.text}")


async def of_worker(settings: Settings, options: argparse.Namespace, entrypoint: str) -> Result:
    """Measure the function worker, on a database and a Redis that are empty."""
    async with project(settings) as api:
        await make_function(api, entrypoint)
    await publish(settings, options.events)
    worker = ours(
        "functions",
        settings,
        functions_executor="process",
        functions_concurrency=options.concurrency,
        functions_function_concurrency=options.concurrency,
    )
    table = tables.executions
    async with counting(settings, table.c.seq, table.c.status == "completed") as done:
        return await measure(worker, options.events, done)


async def measure_http(settings: Settings, options: argparse.Namespace) -> dict[str, Result | None]:
    """Measure functions that live at a URL."""
    async with listening() as endpoint:
        url = f"http://127.0.0.1:{endpoint.port}/function"
        say(f"{options.events:,} events, a function at a URL")
        worker = await of_worker(settings, options, url)
        say("by saq")
        return {
            "realtime functions, at a URL": worker,
            "saq, posting to the URL": await measure_saq(
                settings.redis_url, options.concurrency, options.events, "post", url=url
            ),
        }


async def measure_processes(settings: Settings, options: argparse.Namespace) -> dict[str, Result | None]:
    """Measure functions whose code is deployed."""
    say(f"{options.events:,} events, a function in processes")
    worker = await of_worker(settings, options, "main.py")
    say("by saq, in itself")
    return {
        "realtime functions, in processes": worker,
        "saq, calling it in the worker": await measure_saq(
            settings.redis_url, options.concurrency, options.events, "call"
        ),
    }


def one_round(options: argparse.Namespace) -> dict[str, Result | None]:
    """Measure each of them once, on servers that are new."""
    results: dict[str, Result | None] = {}
    for measure_some in (measure_http, measure_processes):
        with (
            valkey() as redis_url,
            database("") as database_url,
            tempfile.TemporaryDirectory() as folder,
        ):
            settings = Settings(
                database_url=database_url,
                redis_url=redis_url,
                data_dir=Path(folder),
                webhooks_allow_private=True,
                limits="off",
            )
            results |= uvloop.run(measure_some(settings, options))
    return results


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--events", type=int, default=3_000)
    parser.add_argument("--concurrency", type=int, default=10, help="how many executions at a time")
    parser.add_argument("--rounds", type=int, default=2, help="the best one counts")
    options = parser.parse_args()
    rounds = [one_round(options) for _ in range(options.rounds)]
    rows = [row_of(name, best_of(each[name] for each in rounds)) for name in rounds[0]]
    columns = ["by", "per second", "per CPU second"]
    notes = [
        f"{options.concurrency} at a time; the best of {options.rounds} rounds.",
        "CPU time: of the worker and of the processes that it started.",
    ]
    show(Table("triggers", "Functions that do nothing, run for events", columns, rows, notes), options)


if __name__ == "__main__":
    main()
