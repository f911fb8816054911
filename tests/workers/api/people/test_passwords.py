"""Hashing off the event loop, its bound, and the rules of projects."""

import asyncio
import threading
from typing import Any

import pytest

from workers.api.errors import ApiError
from workers.api.people import hashes
from workers.api.people.passwords import (
    HashingPool,
    check_password_rules,
    hash_password,
    needs_rehash,
    password_changes,
    stored,
    verify_password,
)


def row_of(password_hash: str | None, **columns: Any) -> dict[str, Any]:
    """Return what rules look at of a row of ``users``."""
    person = {"name": "Ada Lovelace", "email": "count@example.com", "phone": "+15550100"}
    return person | stored(password_hash) | {"password_history": []} | columns


class TestHashingPool:
    async def test_work_is_done_in_another_thread(self) -> None:
        pool = HashingPool(threads=1, max_waiting=1)

        assert await pool.run(threading.current_thread) is not threading.main_thread()

    async def test_more_than_may_wait_are_refused_at_once_and_later_let_in(self) -> None:
        pool = HashingPool(threads=1, max_waiting=2)
        gate = threading.Event()
        waiting = [asyncio.create_task(pool.run(gate.wait, 30)) for _ in range(2)]
        await asyncio.sleep(0)

        with pytest.raises(ApiError) as refused:
            await pool.run(gate.wait, 30)

        assert refused.value.status == 503
        gate.set()
        assert await asyncio.gather(*waiting) == [True, True]
        assert await pool.run(gate.wait, 30)

    async def test_error_of_the_work_is_raised_and_frees_the_place(self) -> None:
        pool = HashingPool(threads=1, max_waiting=1)

        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await pool.run(lambda: 1 / 0)


class TestVerify:
    async def test_own_hash_knows_its_password(self) -> None:
        row = row_of(await hash_password("correct horse"))

        assert await verify_password("correct horse", row)
        assert not await verify_password("battery staple", row)
        assert not needs_rehash(row)

    async def test_nobody_and_users_without_a_password_know_none(self) -> None:
        assert not await verify_password("correct horse", None)
        assert not await verify_password("correct horse", row_of(None))

    @pytest.mark.parametrize(
        "row",
        [
            None,
            row_of(None),
            row_of("5f4dcc3b5aa765d61d8327deb882cf99", password_algorithm="md5"),
            row_of(hashes.ARGON2.hash("correct horse")),
        ],
        ids=["nobody", "without", "md5", "argon2"],
    )
    async def test_wrong_password_costs_one_argon2_whoever_it_is(
        self, row: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await verify_password("warms the hash of nobody", None)
        algorithms = []
        verify = hashes.verify

        def count(password: str, algorithm: str, *rest: Any) -> bool:
            algorithms.append(algorithm)
            return verify(password, algorithm, *rest)

        monkeypatch.setattr(hashes, "verify", count)

        assert not await verify_password("wrong", row)

        assert algorithms.count("argon2") == 1

    async def test_imported_hash_is_to_be_replaced(self) -> None:
        row = row_of("5f4dcc3b5aa765d61d8327deb882cf99", password_algorithm="md5")

        assert await verify_password("password", row)
        assert needs_rehash(row)


class TestRules:
    async def test_without_policies_everything_goes(self) -> None:
        row = row_of(await hash_password("correct horse"))

        await check_password_rules("correct horse", {}, row=row)
        await check_password_rules("Ada Lovelace", {}, personal=["Ada Lovelace"])

    @pytest.mark.parametrize(
        "password", ["my ada lovelace", "COUNT of nothing", "count@example.com!", "15550100", "x+15550100"]
    )
    async def test_personal_data_is_refused(self, password: str) -> None:
        with pytest.raises(ApiError) as refused:
            await check_password_rules(
                password, {"password-personal-data": {"enabled": True}}, row=row_of(None)
            )

        assert refused.value.type == "password_personal_data"

    async def test_short_and_missing_data_refuse_nothing(self) -> None:
        policies = {"password-personal-data": {"enabled": True}}

        await check_password_rules("all about everything", policies, personal=["al", "", "a@example.com"])

    async def test_as_many_passwords_are_refused_as_are_remembered(self) -> None:
        past = [await hash_password(text) for text in ("first one", "second one", "third one")]
        row = row_of(past[2], password_history=past[:2])

        for total, refused in ((1, {"third one"}), (2, {"third one", "second one"}), (0, set[str]())):
            for password in ("first one", "second one", "third one"):
                if password not in refused:
                    await check_password_rules(password, {"password-history": {"total": total}}, row=row)
                    continue
                with pytest.raises(ApiError) as error:
                    await check_password_rules(password, {"password-history": {"total": total}}, row=row)
                assert error.value.type == "password_recently_used"


class TestPasswordChanges:
    def test_replaced_hash_is_remembered_as_long_as_the_project_says(self) -> None:
        row = row_of("newest", password_history=["oldest", "older"])

        def history(policies: dict[str, Any]) -> Any:
            return password_changes(row, "new", policies, "now")["password_history"]

        assert history({}) == []
        assert history({"password-history": {"total": None}}) == []
        assert history({"password-history": {"total": 2}}) == ["older", "newest"]
        assert history({"password-history": {"total": 20}}) == ["oldest", "older", "newest"]

    def test_imported_hash_is_not_remembered(self) -> None:
        row = row_of("5f4dcc3b5aa765d61d8327deb882cf99", password_algorithm="md5")

        changes = password_changes(row, "new", {"password-history": {"total": 5}}, "now")

        assert changes == {
            "password_hash": "new",
            "password_algorithm": "argon2",
            "password_options": dict(hashes.ARGON2_OPTIONS),
            "password_updated_at": "now",
            "password_history": [],
        }
