"""Avatars over HTTP. What they look like is held in ``tests/workers/images``."""

import io
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.api import Api
from workers.api import rates
from workers.api.avatars import remote
from workers.api.avatars.drawn import InitialsParams, QrParams
from workers.api.avatars.fetching import FetchError
from workers.images.initials import color_of
from workers.outbound.lookups import LookUpsBusyError


def opened(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    return Image.open(io.BytesIO(answer.content))


def encoded(image_format: str, size: tuple[int, int] = (80, 40)) -> bytes:
    body = io.BytesIO()
    Image.new("RGB", size, "red").save(body, image_format)
    return body.getvalue()


class TestDrawn:
    async def test_initials_are_those_of_the_name_or_of_whoever_asks(self, api: Api) -> None:
        await api.server.post(
            "/v1/users", json={"userId": "ada", "name": "Ada Lovelace", "email": "ada@example.com"}
        )
        token = (await api.server.post("/v1/users/ada/jwts", json={})).json()["jwt"]
        async with api.guest() as guest, api.guest(**{"X-Appwrite-JWT": token}) as ada:
            named = await guest.get("/v1/avatars/initials", params={"name": "Ada Lovelace", "width": "30"})
            assert opened(named).size == (30, 100)
            assert opened(named).getpixel((0, 0)) == color_of("Ada Lovelace")
            own = await ada.get("/v1/avatars/initials", params={"height": 0, "width": 60})
            assert opened(own).size == (60, 60)
            assert opened(own).getpixel((0, 0)) == color_of("Ada Lovelace")
            nobody = await guest.get("/v1/avatars/initials", params={"background": "ff8800"})
            assert opened(nobody).getcolors() == [(10_000, (255, 136, 0))]
            known = {"If-None-Match": named.headers["etag"]}
            path = "/v1/avatars/initials?name=Ada+Lovelace&width=30"
            assert (await guest.get(path, headers=known)).status_code == 304

    async def test_qr_code_can_be_saved(self, api: Api) -> None:
        async with api.guest() as guest:
            shown = await guest.get("/v1/avatars/qr", params={"text": "hello"})
            assert opened(shown).size == (400, 400)
            assert "content-disposition" not in shown.headers
            saved = await guest.get("/v1/avatars/qr", params={"text": "hello", "download": "true"})
            assert saved.headers["content-disposition"] == 'attachment; filename="qr.png"'
            refused = await guest.get("/v1/avatars/qr")
            assert refused.json()["message"] == 'Param "text" is not optional.'

    @pytest.mark.parametrize(
        ("model", "params"),
        [
            (InitialsParams, {"name": "x" * 129}),
            (InitialsParams, {"width": "2001"}),
            (InitialsParams, {"background": "blue"}),
            (QrParams, {"text": "x" * 513}),
            (QrParams, {"size": "0", "text": "x"}),
            (QrParams, {"size": "1001", "text": "x"}),
            (QrParams, {"margin": "11", "text": "x"}),
            (QrParams, {"download": "maybe", "text": "x"}),
        ],
    )
    def test_parameters_out_of_range_are_refused(self, model: Any, params: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=next(iter(params))):
            model.model_validate(params)


class TestScope:
    async def test_key_needs_the_scope(self, api: Api) -> None:
        async with await api.add_key("users.read") as other:
            for path in ("initials", "qr?text=x", "flags/de", "screenshots", "image?url=x", "favicon?url=x"):
                refused = await other.get(f"/v1/avatars/{path}")
                assert (refused.status_code, refused.json()["type"]) == (401, "general_unauthorized_scope")


class TestMissing:
    async def test_pictures_that_are_not_there_are_refused_plainly(self, api: Api) -> None:
        async with api.guest() as guest:
            for path in ("browsers/ch", "credit-cards/visa", "flags/de", "screenshots?url=http://x"):
                refused = await guest.get(f"/v1/avatars/{path}")
                assert (refused.status_code, refused.json()["type"]) == (501, "general_not_implemented")
                assert "has no " in refused.json()["message"]


class TestRemote:
    @pytest.fixture
    def pages(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
        """What there is to fetch."""
        pages: dict[str, bytes] = {}

        async def fetch(url: str, *, max_bytes: int, truncate: bool = False) -> bytes:
            if url.endswith(".busy/"):
                raise LookUpsBusyError
            if url not in pages:
                raise FetchError
            return pages[url]

        monkeypatch.setattr(remote, "fetch", fetch)
        return pages

    async def test_image_is_cut_to_size(self, api: Api, pages: dict[str, bytes]) -> None:
        pages["https://example.com/i"] = encoded("WEBP")
        pages["https://example.com/page"] = b"<html>"
        async with api.guest() as guest:
            image = await guest.get(
                "/v1/avatars/image", params={"url": "https://example.com/i", "width": 20, "height": 30}
            )
            assert (opened(image).size, image.headers["content-type"]) == ((20, 30), "image/webp")
            for url in ("https://example.com/page", "https://example.com/gone"):
                refused = await guest.get("/v1/avatars/image", params={"url": url})
                assert (refused.status_code, refused.json()["type"]) == (404, "avatar_image_not_found")

    async def test_names_that_wait_too_long_to_be_looked_up_are_for_later(
        self, api: Api, pages: dict[str, bytes]
    ) -> None:
        pages["https://example.com/"] = b"<link rel=icon href=http://example.busy/>"
        async with api.guest() as guest:
            for path, url in (
                ("image", "http://example.busy/"),
                ("favicon", "http://example.busy/"),
                ("favicon", "https://example.com/"),
            ):
                refused = await guest.get(f"/v1/avatars/{path}", params={"url": url})
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")

    async def test_icon_of_a_site_is_drawn_anew(self, api: Api, pages: dict[str, bytes]) -> None:
        pages["https://example.com/"] = b"<link rel=icon href=/i.ico>"
        pages["https://example.com/i.ico"] = encoded("ICO", (64, 64))
        pages["https://example.org/"] = b"no icon"
        async with api.guest() as guest:
            icon = await guest.get("/v1/avatars/favicon", params={"url": "https://example.com/"})
            assert (opened(icon).size, icon.headers["content-type"]) == ((56, 56), "image/png")
            for url, error_type in (
                ("https://example.org/", "avatar_icon_not_found"),
                ("https://example.net/", "avatar_remote_url_failed"),
            ):
                refused = await guest.get("/v1/avatars/favicon", params={"url": url})
                assert (refused.status_code, refused.json()["type"]) == (404, error_type)


class TestTargets:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"webhooks_allow_private": True}

    async def test_private_target_is_refused_whatever_webhooks_may(self, api: Api) -> None:
        async with api.guest() as guest:
            for path in ("image", "favicon"):
                for url in (
                    "http://127.0.0.1:1/",
                    "http://169.254.169.254/",
                    "file:///etc/passwd",
                    "x" * 3000,
                ):
                    refused = await guest.get(f"/v1/avatars/{path}", params={"url": url})
                    assert (refused.status_code, refused.json()["type"]) == (400, "general_argument_invalid")
                    assert refused.json()["message"].startswith("Invalid `url` param: ")


class TestRate:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_strangers_have_few_requests_made(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        # The minute must not end meanwhile.
        monkeypatch.setattr(rates, "time", SimpleNamespace(time=lambda: 1_000_000_000.0))
        async with api.guest() as guest:
            first = await guest.get("/v1/avatars/image", params={"url": "http://10.0.0.1/"})
            second = await guest.get("/v1/avatars/favicon", params={"url": "http://10.0.0.1/"})
        assert first.headers["x-ratelimit-limit"] == "60"
        assert [answer.headers["x-ratelimit-remaining"] for answer in (first, second)] == ["59", "58"]
