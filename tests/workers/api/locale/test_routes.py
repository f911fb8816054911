"""The Locale service over HTTP. One test, since it does not touch the database."""

from tests.api import Api

PATHS = {
    "codes": "localeCodes",
    "continents": "continents",
    "countries": "countries",
    "countries/eu": "countries",
    "countries/phones": "phones",
    "currencies": "currencies",
    "languages": "languages",
}


async def test_guest_is_shown_the_lists_in_their_language(api: Api) -> None:
    async with api.guest(**{"X-Appwrite-Locale": "de"}) as guest:
        for path, key in PATHS.items():
            answer = await guest.get(f"/v1/locale/{path}")
            assert answer.status_code == 200, path
            assert answer.json()["total"] == len(answer.json()[key]) > 0
        names = [each["name"] for each in (await guest.get("/v1/locale/countries")).json()["countries"]]
        assert "Deutschland" in names
        accepted = await guest.get(
            "/v1/locale/continents", headers={"X-Appwrite-Locale": "", "Accept-Language": "es, en;q=0.5"}
        )
        assert accepted.json()["continents"][0] == {"name": "África", "code": "AF"}
        where = (await guest.get("/v1/locale")).json()
    assert where == {
        "ip": "127.0.0.1",
        "countryCode": "--",
        "country": "Unknown",
        "continentCode": "--",
        "continent": "Unknown",
        "eu": False,
        "currency": "",
    }


async def test_key_needs_the_scope(api: Api) -> None:
    async with await api.add_key("users.read") as other:
        assert (await other.get("/v1/locale/codes")).status_code == 401
