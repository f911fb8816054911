"""Blocking file I/O in threads."""

import asyncio
import threading

from workers.files.threads import in_thread, opened


class TestThreads:
    async def test_files_are_read_while_all_threads_of_asyncio_wait(self) -> None:
        over = threading.Event()
        # Never more than 32, whatever the number of cores.
        waiting = [asyncio.create_task(asyncio.to_thread(over.wait, 10)) for _ in range(32)]
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(5):
                assert await in_thread(int, "10", base=2) == 2
                async with opened(object, lambda _file: None) as file:
                    assert file is not None
        finally:
            over.set()
            await asyncio.gather(*waiting)
