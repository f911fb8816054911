"""Users as the services of people share them: finding them, and what one change says to whom."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from realtime.identity.model import Project
from tests.api import Api
from workers.api.errors import ApiError
from workers.api.people.passwords import stored
from workers.api.people.users import (
    create_user,
    delete_user,
    find_user,
    find_user_by_email,
    find_user_by_phone,
    load_policies,
    rehash,
    require_user,
    update_user,
)
from workers.models.people import Row

DEMO = Project(id="demo")


def show(row: Row, targets: Sequence[Row]) -> Mapping[str, Any]:
    """Show what tests look at."""
    return {"$id": row["id"], "name": row["name"], "targets": [each["identifier"] for each in targets]}


async def make_ada(api: Api) -> Row:
    async with api.services.store.write(DEMO) as tx:
        return await create_user(
            tx,
            user_id="ada",
            email="ada@example.com",
            phone="+15550100",
            password_hash="5f4dcc3b5aa765d61d8327deb882cf99",
            algorithm="md5",
            options={},
            show=show,
        )


class TestFind:
    async def test_user_is_found_by_id_address_and_number(self, api: Api) -> None:
        ada = await make_ada(api)

        async with api.services.store.read() as connection:
            assert await find_user(connection, "demo", "ada") == ada
            assert await require_user(connection, "demo", "ada") == ada
            assert await find_user_by_email(connection, "demo", "ADA@Example.com") == ada
            assert await find_user_by_phone(connection, "demo", "+15550100") == ada

    async def test_nobody_and_users_of_others_are_not_found(self, api: Api) -> None:
        await make_ada(api)

        async with api.services.store.read() as connection:
            for project, user_id, email, phone in (
                ("demo", "eve", "eve@example.com", "+15550101"),
                ("other", "ada", "ada@example.com", "+15550100"),
            ):
                assert await find_user(connection, project, user_id) is None
                assert await find_user_by_email(connection, project, email) is None
                assert await find_user_by_phone(connection, project, phone) is None
                with pytest.raises(ApiError) as refused:
                    await require_user(connection, project, user_id)
                assert refused.value.type == "user_not_found"

    async def test_policies_of_a_project_without_any_are_empty(self, api: Api) -> None:
        async with api.services.store.read() as connection:
            assert await load_policies(connection, "demo") == {}
            assert await load_policies(connection, "nowhere") == {}


class TestEvents:
    async def test_event_tells_what_the_service_shows_after_the_change(self, api: Api) -> None:
        ada = await make_ada(api)
        async with api.services.store.write(DEMO) as tx:
            changes = {"name": "Ada", "email": None}
            ada = await update_user(tx, ada, changes, attribute="name", show=show)
        async with api.services.store.write(DEMO) as tx:
            await update_user(tx, ada, {}, attribute="prefs", show=show, payload={"theme": "dark"})
        async with api.services.store.write(DEMO) as tx:
            await delete_user(tx, ada, show=show)

        both, phone = ["ada@example.com", "+15550100"], ["+15550100"]
        assert [(event.name, event.payload) for event in await api.published()] == [
            ("users.ada.create", {"$id": "ada", "name": "", "targets": both}),
            ("users.ada.update", {"$id": "ada", "name": "Ada", "targets": phone}),
            ("users.ada.update", {"theme": "dark"}),
            ("users.ada.delete", {"$id": "ada", "name": "Ada", "targets": phone}),
        ]

    async def test_user_who_was_deleted_meanwhile_is_not_found_and_nothing_is_told(self, api: Api) -> None:
        ada = await make_ada(api)
        async with api.services.store.write(DEMO) as tx:
            await delete_user(tx, ada, show=show)

        with pytest.raises(ApiError) as updated:
            async with api.services.store.write(DEMO) as tx:
                await update_user(tx, ada, {"name": "Late"}, attribute="name", show=show)
        with pytest.raises(ApiError) as deleted:
            async with api.services.store.write(DEMO) as tx:
                await delete_user(tx, ada, show=show)

        assert updated.value.type == deleted.value.type == "user_not_found"
        assert await api.names() == ["users.ada.create", "users.ada.delete"]


class TestRehash:
    async def test_same_password_is_stored_in_our_form_and_nobody_is_told(self, api: Api) -> None:
        ada = await make_ada(api)

        async with api.services.store.write(DEMO) as tx:
            await rehash(tx, ada, "$argon2id$new")

        async with api.services.store.read() as connection:
            now = await require_user(connection, "demo", "ada")
        assert now == dict(ada) | stored("$argon2id$new")
        assert await api.names() == ["users.ada.create"]

    async def test_password_that_was_changed_meanwhile_stays(self, api: Api) -> None:
        ada = await make_ada(api)
        async with api.services.store.write(DEMO) as tx:
            changed = await update_user(tx, ada, stored("$argon2id$changed"), attribute="password", show=show)

        async with api.services.store.write(DEMO) as tx:
            await rehash(tx, ada, "$argon2id$new")

        async with api.services.store.read() as connection:
            assert await require_user(connection, "demo", "ada") == changed
