import html.parser
import json
import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from realtime.settings import Settings
from workers.dev.routes import FILES, STATIC, content_security_policy, is_loopback, page_routes

SECRET = "a secret of at least thirty-two bytes"


def client_from(address: str) -> httpx.AsyncClient:
    settings = Settings(dev_project="demo", dev_key="the-key", secret=f"older-{SECRET},{SECRET}")
    transport = httpx.ASGITransport(Starlette(routes=page_routes(settings)), client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:8080")


@pytest.fixture
def client() -> httpx.AsyncClient:
    return client_from("127.0.0.1")


PAGES = ("/", "/events")


@pytest.mark.parametrize("page", PAGES)
class TestPages:
    async def test_page_is_served_under_a_policy_that_allows_only_this_server(
        self, client: httpx.AsyncClient, page: str
    ) -> None:
        response = await client.get(page)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        policy = dict(
            part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws://localhost:8080 wss://localhost:8080"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert response.headers["x-content-type-options"] == "nosniff"

    async def test_everything_the_page_loads_is_served_by_this_server(
        self, client: httpx.AsyncClient, page: str
    ) -> None:
        addresses = re.findall(r'(?:src|href)="([^"]+)"', (await client.get(page)).text)
        waiting = [address for address in addresses if address.endswith(".js")]
        while waiting:
            found = re.findall(r'from "([^"]+)"', (await client.get(waiting.pop())).text)
            waiting += [address for address in found if address not in addresses]
            addresses += found
        assert len(addresses) >= 4
        # The API's own page is not one of these routes.
        for address in set(addresses) - {"/docs"}:
            assert address.startswith("/")
            assert (await client.get(address)).status_code == 200

    async def test_page_has_no_inline_script_or_style(self, client: httpx.AsyncClient, page: str) -> None:
        """The policy forbids both, so they would be dead."""
        inline: list[str] = []

        class Parser(html.parser.HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                names = {name for name, _ in attrs}
                if tag == "style" or (tag == "script" and "src" not in names):
                    inline.append(tag)
                inline.extend(name for name in names if name == "style" or name.startswith("on"))

        Parser().feed((await client.get(page)).text)
        assert inline == []


class TestPolicy:
    @pytest.mark.parametrize("host", ["evil.example; script-src *", "a b", "x,y", ""])
    def test_odd_host_is_not_copied_into_the_policy(self, host: str) -> None:
        assert "connect-src 'self';" in content_security_policy(host)


class TestProject:
    async def test_board_is_told_its_project_and_no_secret(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/dev/project.json", headers={"host": "10.0.0.1"})
        assert response.json() == {"project": "demo"}


class TestStatic:
    def test_sdk_is_the_newest_that_the_tests_drive(self) -> None:
        packages = json.loads(Path("tests/e2e/sdk/package.json").read_text())["dependencies"]
        versions = [name.rpartition("@")[2] for name in packages.values() if name.startswith("npm:appwrite@")]
        newest = max(versions, key=lambda version: [int(part) for part in version.split(".")])
        assert (STATIC / "appwrite.js").read_text().startswith(f"/* appwrite {newest} (npm)")

    @pytest.mark.parametrize("name", sorted(FILES))
    async def test_listed_file_is_served_with_its_type(self, client: httpx.AsyncClient, name: str) -> None:
        response = await client.get(f"/dev/static/{name}")
        assert response.status_code == 200
        assert response.headers["content-type"] == FILES[name]

    def test_every_file_of_the_folder_is_listed(self) -> None:
        assert {path.name for path in STATIC.iterdir()} == set(FILES)

    @pytest.mark.parametrize("name", ["../routes.py", "%2e%2e%2froutes.py", "nothing.js"])
    async def test_any_other_name_is_not_found(self, client: httpx.AsyncClient, name: str) -> None:
        assert (await client.get(f"/dev/static/{name}")).status_code == 404


class TestConfig:
    async def test_loopback_name_gets_what_the_page_needs(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/dev/config.json")
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        config = response.json()
        assert config["project"] == "demo"
        assert config["key"] == "the-key"
        assert [(person["userId"], person["name"]) for person in config["people"]] == [
            ("ada", "Ada"),
            ("bob", "Bob"),
        ]

    async def test_answer_is_shared_with_no_other_origin(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/dev/config.json", headers={"origin": "http://evil.example"})
        assert "access-control-allow-origin" not in response.headers
        assert response.headers["cross-origin-resource-policy"] == "same-origin"

    @pytest.mark.parametrize(
        "host", ["localhost", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST:1", "hub.localhost"]
    )
    async def test_each_loopback_name_is_answered(self, client: httpx.AsyncClient, host: str) -> None:
        assert (await client.get("/dev/config.json", headers={"host": host})).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example",
            "evil_name.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "::",
            "a@localhost",
        ],
    )
    async def test_any_other_host_is_refused(self, client: httpx.AsyncClient, host: str) -> None:
        """A foreign site can point its name at 127.0.0.1, but the browser then sends that name."""
        response = await client.get("/dev/config.json", headers={"host": host})
        assert response.status_code == 403
        assert "the-key" not in response.text

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    async def test_request_made_by_another_site_is_refused(
        self, client: httpx.AsyncClient, site: str
    ) -> None:
        assert (await client.get("/dev/config.json", headers={"sec-fetch-site": site})).status_code == 403

    async def test_another_machine_is_refused_whatever_host_it_sends(self) -> None:
        response = await client_from("192.0.2.7").get("/dev/config.json")
        assert response.status_code == 403


class TestIsLoopback:
    @pytest.mark.parametrize("name", ["localhost", "localhost.", "127.8.9.1", "::1", "[::1]"])
    def test_loopback_name_is_one(self, name: str) -> None:
        assert is_loopback(name)

    @pytest.mark.parametrize("name", ["", ".", "localhosts", "0.0.0.0", "1.127.0.0", "::2", "example.com"])
    def test_other_name_is_none(self, name: str) -> None:
        assert not is_loopback(name)
