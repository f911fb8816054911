"""Previews over HTTP. What they look like is held in ``tests/workers/images``."""

import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from PIL import Image

from realtime.bus.windows import WindowCount
from tests.api import Api
from workers.api import rates
from workers.api.storage.previews import PreviewParams
from workers.images.gate import Gate

PREVIEW = "/v1/storage/buckets/photos/files/f1/preview"

Call = Callable[..., Awaitable[Any]]


def encoded(size: tuple[int, int] = (80, 40), image_format: str = "PNG") -> bytes:
    body = io.BytesIO()
    Image.effect_noise(size, 50).save(body, image_format)
    return body.getvalue()


def bomb() -> bytes:
    """A PNG of 400 million pixels in 50 KB."""
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(2501)) for _ in range(20_000)) + packer.flush()
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)),
        (b"IDAT", packed),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def opened(answer: httpx.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    image = Image.open(io.BytesIO(answer.content))
    assert answer.headers["content-type"] == Image.MIME[image.format or ""]
    return image


class TestPreview:
    async def test_image_is_shown_as_asked_for(self, api: Api, make_bucket: Call, upload: Call) -> None:
        await make_bucket()
        assert (await upload(api.server, encoded(), name="photo.png")).status_code == 201
        assert opened(await api.server.get(PREVIEW)).size == (80, 40)
        answer = await api.server.get(PREVIEW, params={"width": 20, "height": 20, "output": "jpg"})
        assert (opened(answer).size, opened(answer).format) == ((20, 20), "JPEG")
        assert answer.headers["x-content-type-options"] == "nosniff"

    async def test_client_that_has_it_is_told_so(self, api: Api, make_bucket: Call, upload: Call) -> None:
        await make_bucket()
        await upload(api.server, encoded(), name="photo.png")
        first = await api.server.get(PREVIEW, params={"width": 10})
        assert first.headers["cache-control"] == "private, no-cache"
        known = {"If-None-Match": f'"other", W/{first.headers["etag"]}'}
        again = await api.server.get(PREVIEW, params={"width": 10}, headers=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
        assert (await api.server.get(PREVIEW, params={"width": 11}, headers=known)).status_code == 200

    async def test_only_readers_see_it(self, api: Api, make_bucket: Call, upload: Call, log_in: Call) -> None:
        await make_bucket(fileSecurity=True)
        await upload(api.server, encoded(), name="photo.png", permissions=['read("user:ada")'])
        ada, bob = await log_in("ada"), await log_in("bob")
        # As SDKs send what was left empty, with what other routes take.
        params = {
            "width": "10",
            "height": "",
            "gravity": "",
            "background": "",
            "project": "demo",
            "token": "",
        }
        assert opened(await ada.get(PREVIEW, params=params)).size == (10, 5)
        assert (await bob.get(PREVIEW)).status_code == 404
        await make_bucket("plain", transformations=False, permissions=['read("any")'])
        await upload(api.server, encoded(), bucket_id="plain", name="photo.png")
        refused = await ada.get(PREVIEW.replace("photos", "plain"))
        assert (refused.status_code, refused.json()["type"]) == (
            403,
            "storage_bucket_transformations_disabled",
        )
        assert opened(await api.server.get(PREVIEW.replace("photos", "plain"))).size == (80, 40)


class TestRate:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {"limits": "on"}

    async def test_pages_of_thumbnails_pass_and_a_flood_of_them_does_not(
        self, api: Api, make_bucket: Call, upload: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await make_bucket(permissions=['read("any")'])
        await upload(api.server, encoded(), name="photo.png")
        etag = {"If-None-Match": "*"}
        async with api.guest() as guest:
            first = await guest.get(PREVIEW, headers=etag)
            assert (first.status_code, first.headers["x-ratelimit-limit"]) == (304, "600")
            counted = AsyncMock(return_value=WindowCount(601, 0))
            monkeypatch.setattr(rates, "count_in_window", counted)
            for path in (PREVIEW, "/v1/avatars/initials?name=A", "/v1/avatars/qr?text=A"):
                refused = await guest.get(path)
                assert (refused.status_code, refused.json()["type"]) == (429, "general_rate_limit_exceeded")
        assert (await api.server.get(PREVIEW, headers=etag)).status_code == 304


class TestRefused:
    async def test_what_cannot_be_drawn_is_refused_plainly(
        self, api: Api, make_bucket: Call, upload: Call, on_disk: Callable[[], list[Path]]
    ) -> None:
        await make_bucket()
        cases = [
            ("text.png", b"Hello", "storage_file_type_unsupported"),
            ("image.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "storage_file_type_unsupported"),
            ("cut.png", encoded()[:-100], "storage_file_type_unsupported"),
            ("bomb.png", bomb(), "storage_invalid_file_size"),
        ]
        for number, (name, content, error_type) in enumerate(cases):
            await upload(api.server, content, name=name, file_id=f"c{number}")
            before = on_disk()
            refused = await api.server.get(PREVIEW.replace("f1", f"c{number}"))
            assert (refused.status_code, refused.json()["type"]) == (400, error_type), name
            assert on_disk() == before
        assert (await api.server.get(PREVIEW.replace("f1", "none"))).json()[
            "type"
        ] == "storage_file_not_found"

    async def test_full_queue_and_lost_bytes_are_told_apart(
        self,
        api: Api,
        make_bucket: Call,
        upload: Call,
        on_disk: Callable[[], list[Path]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await make_bucket()
        await upload(api.server, encoded(), name="photo.png")
        with monkeypatch.context() as patched:
            patched.setattr(api.services.images, "_processes", Gate(0, 0))
            busy = await api.server.get(PREVIEW)
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "1")
        for path in on_disk():
            path.unlink()
        lost = await api.server.get(PREVIEW)
        assert (lost.status_code, lost.json()["type"]) == (404, "storage_file_not_found")

    @pytest.mark.parametrize(
        "params",
        [
            {"width": "4001"},
            {"width": "-1"},
            {"width": "wide"},
            {"height": "1.5"},
            {"gravity": "north"},
            {"quality": "101"},
            {"quality": "-2"},
            {"borderWidth": "101"},
            {"borderColor": "red"},
            {"borderRadius": "4001"},
            {"opacity": "1.1"},
            {"opacity": "nan"},
            {"rotation": "361"},
            {"background": "12345"},
            {"output": "heic"},
            {"output": "svg"},
        ],
    )
    def test_parameters_out_of_range_are_refused(self, params: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=next(iter(params))):
            PreviewParams.model_validate(params)

    async def test_refusal_names_the_parameter(self, api: Api) -> None:
        refused = await api.server.get(PREVIEW, params={"opacity": "2"})
        assert refused.status_code == 400
        assert refused.json()["message"].startswith("Invalid `opacity` param: ")
