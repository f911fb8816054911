"""Bytes of files as browsers ask for them. The database has no part in it."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api import BASE_URL, PROJECT, Api

Make = Callable[..., Awaitable[dict[str, Any]]]
LogIn = Callable[[str], Awaitable[httpx.AsyncClient]]
Upload = Callable[..., Awaitable[httpx.Response]]

FILE = "/v1/storage/buckets/photos/files/f1"
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000")


class TestDownload:
    async def test_file_is_saved_under_its_name(self, api: Api, make_bucket: Make, upload: Upload) -> None:
        await make_bucket()
        await upload(api.server, b"0123456789", name="größe.txt")
        response = await api.server.get(f"{FILE}/download")
        assert response.status_code == 200
        assert response.content == b"0123456789"
        disposition = response.headers["Content-Disposition"]
        assert disposition.startswith("attachment;")
        assert "filename*=UTF-8''gr%C3%B6%C3%9Fe.txt" in disposition

    async def test_range_and_validators_are_heeded(self, api: Api, make_bucket: Make, upload: Upload) -> None:
        await make_bucket()
        await upload(api.server, b"0123456789")
        response = await api.server.get(f"{FILE}/view", headers={"Range": "bytes=2-4"})
        assert (response.status_code, response.content) == (206, b"234")
        assert response.headers["Content-Range"] == "bytes 2-4/10"
        etag = response.headers["ETag"]
        assert (await api.server.get(f"{FILE}/view", headers={"If-None-Match": etag})).status_code == 304
        response = await api.server.get(f"{FILE}/download", headers={"Range": "bytes=10-"})
        assert response.status_code == 416
        assert response.headers["Content-Range"] == "bytes */10"

    @pytest.mark.parametrize("route", ["view", "download"])
    async def test_head_is_the_head_of_get(
        self, api: Api, make_bucket: Make, upload: Upload, route: str
    ) -> None:
        await make_bucket()
        await upload(api.server, b"0123456789")
        response = await api.server.head(f"{FILE}/{route}")
        assert (response.status_code, response.content) == (200, b"")
        told = ("Content-Length", "Accept-Ranges", "ETag", "Content-Type", "Content-Disposition")
        got = await api.server.get(f"{FILE}/{route}")
        assert [response.headers[name] for name in told] == [got.headers[name] for name in told]
        # Who may not read the file learns nothing of it so either.
        async with api.guest() as guest:
            assert (await guest.head(f"{FILE}/{route}")).status_code == 404


class TestView:
    async def test_picture_is_shown_and_a_page_is_not(
        self, api: Api, make_bucket: Make, upload: Upload
    ) -> None:
        """Also if it claims to be a picture: what is uploaded never runs scripts on the origin of the API."""
        await make_bucket()
        await upload(api.server, PNG, name="a.png")
        await upload(api.server, b"<!DOCTYPE html><script>1</script>", name="a.png", file_id="f2")
        response = await api.server.get(f"{FILE}/view")
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["Content-Disposition"].startswith("inline;")
        response = await api.server.get("/v1/storage/buckets/photos/files/f2/view")
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]

    async def test_img_element_shows_what_the_user_may_read(
        self, api: Api, make_bucket: Make, log_in: LogIn, upload: Upload
    ) -> None:
        """It sends no headers of ours: the project is in the URL, the session in a cookie."""
        await make_bucket(permissions=['create("users")'], fileSecurity=True)
        ada = await log_in("ada")
        await upload(ada, PNG, name="a.png")
        url = f"{FILE}/view?project={PROJECT}"
        cookies = {f"a_session_{PROJECT}": quote(ada.headers["X-Appwrite-Session"])}
        headers = {"Referer": "http://localhost/", "Sec-Fetch-Dest": "image", "Sec-Fetch-Mode": "no-cors"}
        transport = httpx.ASGITransport(api.app)
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL, cookies=cookies) as browser:
            response = await browser.get(url, headers=headers)
            assert response.status_code == 200
            assert response.content == PNG
            # One with `crossorigin="use-credentials"` names its page.
            response = await browser.get(url, headers=headers | {"Origin": "http://localhost"})
            assert response.headers["Access-Control-Allow-Origin"] == "http://localhost"
            response = await browser.get(url, headers=headers | {"Origin": "http://evil.example"})
            assert response.status_code == 403
        async with httpx.AsyncClient(transport=transport, base_url=BASE_URL) as stranger:
            assert (await stranger.get(url, headers=headers)).status_code == 404
