"""Providers."""

from typing import Any

import pytest
from sqlalchemy import select

from tests.api import Api
from workers.api.messaging.kinds import KINDS
from workers.store import tables

SMTP = {
    "providerId": "mail",
    "name": "Our mail server",
    "host": "smtp.example.com",
    "port": 2525,
    "username": "ann",
    "password": "a-secret-password",
    "fromName": "Ann",
    "fromEmail": "ann@example.com",
    "enabled": True,
}
COMPLETE: dict[str, dict[str, Any]] = {
    "smtp": {"host": "smtp.example.com", "password": "s3cr3t", "fromEmail": "a@example.com"},
    "mailgun": {"apiKey": "s3cr3t", "domain": "example.com", "fromEmail": "a@example.com"},
    "sendgrid": {"apiKey": "s3cr3t", "fromEmail": "a@example.com"},
    "resend": {"apiKey": "s3cr3t", "fromEmail": "a@example.com"},
    "ses": {"accessKey": "a", "secretKey": "s3cr3t", "region": "eu", "fromEmail": "a@example.com"},
    "msg91": {"templateId": "t", "senderId": "s", "authKey": "s3cr3t"},
    "telesign": {"customerId": "c", "apiKey": "s3cr3t", "from": "+15550100"},
    "textmagic": {"username": "u", "apiKey": "s3cr3t", "from": "+15550100"},
    "twilio": {"accountSid": "a", "authToken": "s3cr3t", "from": "+15550100"},
    "vonage": {"apiKey": "k", "apiSecret": "s3cr3t", "from": "+15550100"},
    "fcm": {"serviceAccountJSON": {"private_key": "s3cr3t"}},
    "apns": {"authKey": "s3cr3t", "authKeyId": "i", "teamId": "t", "bundleId": "b"},
}


async def create(api: Api, **changes: Any) -> dict[str, Any]:
    made = await api.server.post("/v1/messaging/providers/smtp", json=SMTP | changes)
    assert made.status_code == 201, made.text
    return dict(made.json())


class TestCreate:
    async def test_provider_is_shown_without_its_secrets(self, api: Api) -> None:
        provider = await create(api)
        assert provider == {
            "$id": "mail",
            "$createdAt": provider["$createdAt"],
            "$updatedAt": provider["$createdAt"],
            "name": "Our mail server",
            "provider": "smtp",
            "enabled": True,
            "type": "email",
            "credentials": {"host": "smtp.example.com", "port": 2525, "username": "ann"},
            "options": {
                "encryption": "",
                "autoTLS": True,
                "mailer": "",
                "fromName": "Ann",
                "fromEmail": "ann@example.com",
            },
        }
        assert (await api.server.get("/v1/messaging/providers/mail")).json() == provider

    async def test_secrets_are_sealed_where_they_are_kept(self, api: Api) -> None:
        await create(api)
        async with api.services.store.read() as connection:
            row = (await connection.execute(select(tables.providers))).mappings().one()
        assert "a-secret-password" not in str(dict(row))
        assert api.services.sealer.unseal(row["secrets"]) == '{"password":"a-secret-password"}'

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_what_lacks_something_is_not_enabled(self, api: Api) -> None:
        assert not (await create(api, fromEmail=None))["enabled"]

    async def test_id_of_another_is_refused(self, api: Api) -> None:
        await create(api)
        again = await api.server.post("/v1/messaging/providers/smtp", json=SMTP)
        assert (again.status_code, again.json()["type"]) == (409, "provider_already_exists")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_wrong_parameter_is_named(self, api: Api) -> None:
        response = await api.server.post("/v1/messaging/providers/smtp", json=SMTP | {"host": "a b"})
        assert response.status_code == 400
        assert "`host`" in response.json()["message"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestKinds:
    async def test_every_kind_is_created_and_updated(self, api: Api) -> None:
        assert COMPLETE.keys() == KINDS.keys()
        for word, given in COMPLETE.items():
            path = f"/v1/messaging/providers/{word}"
            made = await api.server.post(
                path, json={"providerId": word, "name": word, "enabled": True, **given}
            )
            assert (made.status_code, made.json()["enabled"]) == (201, True), made.text
            changed = await api.server.patch(f"{path}/{word}", json={"name": "Other"})
            assert changed.json() == made.json() | {
                "name": "Other",
                "$updatedAt": changed.json()["$updatedAt"],
            }
            assert "s3cr3t" not in made.text + changed.text


class TestUpdate:
    async def test_what_is_left_out_stays(self, api: Api) -> None:
        before = await create(api)
        response = await api.server.patch(
            "/v1/messaging/providers/smtp/mail", json={"port": 587, "fromName": ""}
        )
        after = response.json()
        assert after["credentials"] == before["credentials"] | {"port": 587}
        assert after["options"] == before["options"] | {"fromName": ""}
        assert (after["name"], after["enabled"]) == ("Our mail server", True)
        async with api.services.store.read() as connection:
            row = (await connection.execute(select(tables.providers))).mappings().one()
        assert api.services.sealer.unseal(row["secrets"]) == '{"password":"a-secret-password"}'

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_enabling_what_lacks_something_is_refused(self, api: Api) -> None:
        await create(api, fromEmail=None)
        path = "/v1/messaging/providers/smtp/mail"
        refused = await api.server.patch(path, json={"enabled": True})
        assert (refused.status_code, refused.json()["type"]) == (400, "provider_missing_credentials")
        assert "fromEmail" in refused.json()["message"]
        enabled = await api.server.patch(path, json={"enabled": True, "fromEmail": "a@example.com"})
        assert enabled.json()["enabled"]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_path_of_another_kind_is_refused(self, api: Api) -> None:
        await create(api)
        refused = await api.server.patch("/v1/messaging/providers/resend/mail", json={"name": "Other"})
        assert (refused.status_code, refused.json()["type"]) == (400, "provider_incorrect_type")


class TestDelete:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_provider_is_gone(self, api: Api) -> None:
        await create(api)
        assert (await api.server.delete("/v1/messaging/providers/mail")).status_code == 204
        for response in (
            await api.server.get("/v1/messaging/providers/mail"),
            await api.server.delete("/v1/messaging/providers/mail"),
            await api.server.patch("/v1/messaging/providers/smtp/mail", json={}),
        ):
            assert (response.status_code, response.json()["type"]) == (404, "provider_not_found")


class TestList:
    async def test_providers_are_filtered_and_searched(self, api: Api) -> None:
        await create(api)
        twilio = {"providerId": "sms", "name": "Texts", **COMPLETE["twilio"]}
        await api.server.post("/v1/messaging/providers/twilio", json=twilio)
        of_sms = '{"method":"equal","attribute":"type","values":["sms"]}'
        for params in ({"queries[0]": of_sms}, {"search": "TEXT"}):
            listed = (await api.server.get("/v1/messaging/providers", params=params)).json()
            assert (listed["total"], [each["$id"] for each in listed["providers"]]) == (1, ["sms"])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_scope_is_needed(self, api: Api) -> None:
        holder = await api.add_key("topics.read")
        assert (await holder.get("/v1/messaging/providers")).status_code == 401
