"""Making users: what may be said of them, in which form a password may come, and who is told."""

import asyncio
from typing import Any

from tests.api import Api
from workers.api.people.passwords import verify_password
from workers.api.people.users import find_user

ADA = {"userId": "ada", "email": "ada@example.com", "password": "correct horse", "name": "Ada"}

# The same password, hashed by other programs: the libraries' own test vectors, or `openssl`.
IMPORTED: dict[str, tuple[str, dict[str, Any]]] = {
    "argon2": (
        "password",
        {
            "password": "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
        },
    ),
    "bcrypt": ("U*U", {"password": "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}),
    "md5": ("password", {"password": "5f4dcc3b5aa765d61d8327deb882cf99"}),
    "phpass": ("test12345", {"password": "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"}),
    "sha": (
        "password",
        {"password": "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8", "passwordVersion": "sha1"},
    ),
    "scrypt": (
        "password",
        {
            "password": "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
            "passwordSalt": "NaCl",
            "passwordCpu": 1024,
            "passwordMemory": 8,
            "passwordParallel": 16,
            "passwordLength": 64,
        },
    ),
    "scrypt-modified": (
        "user1password",
        {
            "password": "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
            "passwordSalt": "42xEC+ixf3L2lw==",
            "passwordSaltSeparator": "Bw==",
            "passwordSignerKey": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9"
            "WmXA==",
        },
    ),
}

ALGORITHMS = {"scrypt-modified": "scryptMod"}
"""What users show, where it is not the path."""

WRONG: list[tuple[str, object]] = [
    ("userId", "-ada"),
    ("userId", "a" * 37),
    ("email", "ada"),
    ("email", "ada@" + "a" * 300 + ".com"),
    ("phone", "15550100"),
    ("phone", "+1" + "5" * 15),
    ("phone", "+0123"),
    ("password", "short"),
    ("password", "x" * 257),
    ("name", "x" * 129),
    ("name", 7),
]


class TestCreate:
    async def test_everything_given_makes_a_user_with_targets(self, api: Api) -> None:
        response = await api.server.post("/v1/users", json=ADA | {"phone": "+15550100"})

        assert response.status_code == 201
        user = response.json()
        assert user["$id"] == "ada"
        assert (user["name"], user["email"], user["phone"]) == ("Ada", "ada@example.com", "+15550100")
        assert user["status"] is True
        assert (user["emailVerification"], user["phoneVerification"], user["mfa"]) == (False, False, False)
        assert (user["labels"], user["prefs"]) == ([], {})
        assert user["registration"] == user["$createdAt"] == user["passwordUpdate"]
        assert user["password"].startswith("$argon2id$")
        assert user["hash"] == "argon2"
        assert set(user["hashOptions"]) == {"type", "memoryCost", "timeCost", "threads"}
        assert [(each["providerType"], each["identifier"]) for each in user["targets"]] == [
            ("email", "ada@example.com"),
            ("sms", "+15550100"),
        ]

    async def test_event_tells_the_user_without_the_password(self, api: Api) -> None:
        user = (await api.server.post("/v1/users", json=ADA)).json()

        (event,) = await api.published()
        assert event.name == "users.ada.create"
        assert event.channels[:2] == ["account", "account.ada"]
        assert event.roles == ["user:ada"]
        secrets = {"password", "hash", "hashOptions"}
        assert event.payload == {name: value for name, value in user.items() if name not in secrets}

    async def test_id_alone_makes_a_user_without_anything(self, api: Api) -> None:
        first = await api.server.post("/v1/users", json={"userId": "unique()", "email": None, "phone": ""})
        second = await api.server.post("/v1/users", json={"userId": "unique()", "password": ""})

        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json()["$id"] != second.json()["$id"]
        user = first.json()
        assert (user["email"], user["phone"], user["password"], user["passwordUpdate"]) == ("", "", "", "")
        assert user["targets"] == []

    async def test_address_in_capitals_is_the_one_in_small_letters(self, api: Api) -> None:
        user = (await api.server.post("/v1/users", json=ADA | {"email": "Ada@Example.COM"})).json()

        assert user["email"] == "ada@example.com"

    async def test_what_somebody_has_is_refused(self, api: Api) -> None:
        ada = ADA | {"phone": "+15550100"}
        eve = {"userId": "eve", "email": "eve@example.com", "phone": "+15550101"}
        await api.server.post("/v1/users", json=ada)

        for twice in ("userId", "email", "phone"):
            response = await api.server.post("/v1/users", json=eve | {twice: ada[twice]})
            assert response.status_code == 409, twice
            assert response.json()["type"] == "user_already_exists"
        assert await api.names() == ["users.ada.create"]

    async def test_of_many_who_ask_at_once_one_gets_the_address(self, api: Api) -> None:
        bodies = [{"userId": "unique()", "email": "ada@example.com"} for _ in range(8)]

        responses = await asyncio.gather(*(api.server.post("/v1/users", json=body) for body in bodies))

        assert sorted(response.status_code for response in responses) == [201] + [409] * 7
        assert len(await api.names()) == 1

    async def test_what_breaks_a_rule_is_refused_by_its_name(self, api: Api) -> None:
        for name, value in WRONG:
            response = await api.server.post("/v1/users", json=ADA | {name: value})

            assert response.status_code == 400, (name, value)
            assert response.json()["type"] == "general_argument_invalid"
            assert f"`{name}`" in response.json()["message"]
        assert await api.names() == []

    async def test_target_that_somebody_else_has_stays_with_them(self, api: Api) -> None:
        await api.server.post("/v1/users", json={"userId": "eve"})
        target = {"targetId": "mail", "providerType": "email", "identifier": "ada@example.com"}
        await api.server.post("/v1/users/eve/targets", json=target)

        user = (await api.server.post("/v1/users", json=ADA)).json()

        assert user["email"] == "ada@example.com"
        assert user["targets"] == []


class TestImport:
    async def test_hash_of_another_system_is_kept_and_knows_its_password(self, api: Api) -> None:
        for form, (password, hashed) in IMPORTED.items():
            body = {"userId": form, "email": f"{form}@example.com"} | hashed

            response = await api.server.post(f"/v1/users/{form}", json=body)

            assert response.status_code == 201, response.text
            user = response.json()
            assert user["password"] == hashed["password"]
            assert user["hash"] == user["hashOptions"]["type"] == ALGORITHMS.get(form, form)
            async with api.services.store.read() as connection:
                row = await find_user(connection, "demo", form)
            assert await verify_password(password, row), form
            assert not await verify_password(password + "!", row), form
        events = await api.published()
        assert [event.name for event in events] == [f"users.{form}.create" for form in IMPORTED]
        assert not any("password" in event.payload for event in events)

    async def test_login_replaces_the_hash_by_one_of_ours(self, api: Api) -> None:
        password, hashed = IMPORTED["md5"]
        body = {"userId": "ada", "email": "ada@example.com"} | hashed
        await api.server.post("/v1/users/md5", json=body)
        login = {"email": "ada@example.com", "password": password}

        first = await api.guest().post("/v1/account/sessions/email", json=login)
        replaced = (await api.server.get("/v1/users/ada")).json()
        second = await api.guest().post("/v1/account/sessions/email", json=login)

        assert (first.status_code, second.status_code) == (201, 201)
        assert (replaced["hash"], replaced["password"][:10]) == ("argon2", "$argon2id$")
        assert (await api.server.get("/v1/users/ada")).json()["password"] == replaced["password"]

    async def test_text_that_is_no_such_hash_is_refused(self, api: Api) -> None:
        for form, (_, hashed) in IMPORTED.items():
            body = {"userId": "ada", "email": "ada@example.com"} | hashed | {"password": "no hash: ü"}

            response = await api.server.post(f"/v1/users/{form}", json=body)

            assert response.status_code == 400, form
            assert response.json()["message"].startswith("Invalid `password` param: Value must be")

    async def test_options_of_hashes_show_what_the_models_name(self, api: Api) -> None:
        shown = {}
        for number, form in enumerate(IMPORTED):
            body = {"userId": "unique()", "email": f"user{number}@example.com"} | IMPORTED[form][1]
            user = (await api.server.post(f"/v1/users/{form}", json=body)).json()
            shown[form] = user["hashOptions"]

        assert shown == {
            "argon2": {"type": "argon2", "memoryCost": 65536, "timeCost": 2, "threads": 1},
            "bcrypt": {"type": "bcrypt"},
            "md5": {"type": "md5"},
            "phpass": {"type": "phpass"},
            "sha": {"type": "sha"},
            "scrypt": {"type": "scrypt", "costCpu": 1024, "costMemory": 8, "costParallel": 16, "length": 64},
            "scrypt-modified": {
                "type": "scryptMod",
                "salt": "42xEC+ixf3L2lw==",
                "saltSeparator": "Bw==",
                "signerKey": IMPORTED["scrypt-modified"][1]["passwordSignerKey"],
            },
        }

    async def test_scrypt_that_would_take_too_much_memory_is_refused(self, api: Api) -> None:
        body = {"userId": "ada", "email": "ada@example.com"} | IMPORTED["scrypt"][1]

        response = await api.server.post(
            "/v1/users/scrypt", json=body | {"passwordCpu": 1_048_576, "passwordMemory": 1024}
        )

        assert response.status_code == 400
        assert "memory" in response.json()["message"]
