import asyncio
import gc
import weakref

from workers.store.acting import NOBODY, Acting, act_as, who_acts

ADA = Acting("ada", 2)


class TestWhoActs:
    async def test_nobody_acts_where_nobody_said_so(self) -> None:
        assert who_acts() == NOBODY == Acting("", 0)

    async def test_who_acts_is_the_last_who_was_said(self) -> None:
        act_as(Acting("eve"))
        act_as(ADA)
        assert who_acts() == ADA

    async def test_nobody_acts_in_tasks_that_are_started(self) -> None:
        act_as(ADA)

        async def start_another() -> tuple[Acting, Acting]:
            async def ask() -> Acting:
                return who_acts()

            return who_acts(), await asyncio.create_task(ask())

        assert await asyncio.create_task(start_another()) == (NOBODY, NOBODY)
        assert who_acts() == ADA

    async def test_tasks_do_not_see_each_other(self) -> None:
        async def act(name: str) -> str:
            act_as(Acting(name))
            await asyncio.sleep(0)
            return who_acts().user_id

        names = [f"u{number}" for number in range(10)]
        assert await asyncio.gather(*map(act, names)) == names
        assert who_acts() == NOBODY

    async def test_it_holds_in_what_the_task_awaits(self) -> None:
        act_as(ADA)

        async def ask() -> Acting:
            await asyncio.sleep(0)
            return who_acts()

        assert await ask() == ADA

    def test_nobody_acts_outside_of_tasks(self) -> None:
        assert who_acts() == NOBODY

    async def test_tasks_that_ended_are_not_kept(self) -> None:
        async def act() -> None:
            act_as(ADA)

        task = asyncio.create_task(act())
        await task
        seen = weakref.ref(task)
        gc.disable()
        try:
            del task
            await asyncio.sleep(0)
            assert seen() is None
        finally:
            gc.enable()

    async def test_acting_outside_of_a_task_is_refused(self) -> None:
        refused = asyncio.get_running_loop().create_future()

        def act() -> None:
            try:
                act_as(ADA)
            except RuntimeError as error:
                refused.set_result(str(error))

        asyncio.get_running_loop().call_soon(act)
        assert "outside of tasks" in await refused
