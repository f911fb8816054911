"""The API keys of executions."""

import pytest

from realtime.errors import InvalidCredentialError
from realtime.identity.jwt import mint
from workers.functions.ephemeral_keys import PREFIX, EphemeralKeys
from workers.store.sealing import Sealer


class TestEphemeralKeys:
    async def test_key_tells_what_it_may_do_and_until_when(self) -> None:
        keys = EphemeralKeys(Sealer(["a key"]), clock=lambda: 1000.0)
        secret = keys.issue("demo", ["rows.read"], life_s=75)
        assert secret.startswith(PREFIX)
        key = await keys.open("demo", secret)
        assert (key.scopes, key.expires_at) == (("rows.read",), 1075)
        assert key.allows("rows.read")
        assert not key.allows("rows.write")

    async def test_key_is_good_in_its_project_and_its_time_only(self) -> None:
        now = 1000.0
        keys = EphemeralKeys(Sealer(["a key"]), clock=lambda: now)
        secret = keys.issue("demo", [], life_s=75)
        with pytest.raises(InvalidCredentialError, match="project"):
            await keys.open("other", secret)
        now = 1074.0
        await keys.open("demo", secret)
        now = 1076.0
        with pytest.raises(InvalidCredentialError, match="Expired"):
            await keys.open("demo", secret)

    async def test_key_outlives_a_rotation(self) -> None:
        secret = EphemeralKeys(Sealer(["old"])).issue("demo", [], life_s=75)
        await EphemeralKeys(Sealer(["old", "new"])).open("demo", secret)
        with pytest.raises(InvalidCredentialError):
            await EphemeralKeys(Sealer(["new"])).open("demo", secret)

    async def test_nothing_else_that_is_signed_or_encrypted_is_a_key(self) -> None:
        sealer = Sealer(["a key"])
        keys = EphemeralKeys(sealer)
        claims = {"projectId": "demo", "scopes": ["*"], "exp": 2**33}
        good = keys.issue("demo", ["*"], life_s=75)
        others = [
            "",
            good.removeprefix(PREFIX),
            PREFIX,
            good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
            PREFIX + mint(claims, "a key"),
            PREFIX + mint(claims, sealer.signing_keys("something else")[0]),
            PREFIX + sealer.seal("x"),
        ]
        for other in others:
            with pytest.raises(InvalidCredentialError):
                await keys.open("demo", other)
