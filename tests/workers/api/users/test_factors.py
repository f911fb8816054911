"""A user's second factors."""

from typing import Any

import pytest
from sqlalchemy import update

from realtime.identity.secrets import verify_secret
from tests.api import Api
from workers.store.tables import users

CODES = "/v1/users/ada/mfa/recovery-codes"


@pytest.fixture
async def ada(api: Api) -> None:
    """A user with an address."""
    await api.server.post("/v1/users", json={"userId": "ada", "email": "ada@example.com"})


async def set_columns(api: Api, **columns: Any) -> None:
    async with api.services.store.database.writing() as connection:
        await connection.execute(update(users).values(**columns))


async def factors(api: Api) -> set[str]:
    found = (await api.server.get("/v1/users/ada/mfa/factors")).json()
    return {name for name, is_available in found.items() if is_available}


class TestFactors:
    async def test_only_what_was_verified_is_a_factor(self, api: Api, ada: None) -> None:
        assert await factors(api) == set()
        await set_columns(api, totp_secret="JBSWY3DPEHPK3PXP")
        assert await factors(api) == set()

        await set_columns(api, totp_verified=True, email_verified=True)

        assert await factors(api) == {"totp", "email"}
        await api.server.patch(CODES)
        assert await factors(api) == {"totp", "email", "recoveryCode"}


class TestAuthenticator:
    async def test_deleted_authenticator_is_no_factor_and_told(self, api: Api, ada: None) -> None:
        await set_columns(api, totp_secret="JBSWY3DPEHPK3PXP", totp_verified=True)

        response = await api.server.delete("/v1/users/ada/mfa/authenticators/totp")

        assert response.status_code == 204
        assert await factors(api) == set()
        assert "users.ada.update.mfa" in (await api.published())[-1].events

    async def test_one_that_is_not_there_is_not_found(self, api: Api, ada: None) -> None:
        response = await api.server.delete("/v1/users/ada/mfa/authenticators/totp")

        assert response.status_code == 404
        assert response.json()["type"] == "user_authenticator_not_found"

    async def test_unknown_type_is_refused(self, api: Api, ada: None) -> None:
        assert (await api.server.delete("/v1/users/ada/mfa/authenticators/face")).status_code == 400


class TestRecoveryCodes:
    async def test_new_codes_are_shown_once_and_kept_as_hashes(self, api: Api, ada: None) -> None:
        response = await api.server.patch(CODES)

        assert response.status_code == 201
        codes = response.json()["recoveryCodes"]
        assert len(set(codes)) == 6
        async with api.services.store.read() as connection:
            kept = (await connection.execute(users.select())).mappings().one()["mfa_recovery_codes"]
        assert all(verify_secret(code, stored) for code, stored in zip(codes, kept, strict=True))
        event = (await api.published())[-1]
        assert "users.ada.update.mfa" in event.events
        assert not any(code in str(event.payload) for code in codes)
        shown = await api.server.get(CODES)
        assert shown.status_code == 409
        assert shown.json()["type"] == "user_recovery_codes_already_exists"

    async def test_codes_are_made_once_and_then_replaced(self, api: Api, ada: None) -> None:
        early = await api.server.put(CODES)
        assert (early.status_code, early.json()["type"]) == (404, "user_recovery_codes_not_found")
        assert (await api.server.get(CODES)).status_code == 404
        first = (await api.server.patch(CODES)).json()["recoveryCodes"]
        assert (await api.server.patch(CODES)).status_code == 409

        second = await api.server.put(CODES)

        assert second.status_code == 200
        assert not set(first) & set(second.json()["recoveryCodes"])
