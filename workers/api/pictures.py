"""Answers that are pictures, drawn by :mod:`workers.images`, for the services that have any."""

import contextlib
import hashlib
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from fastapi import Depends
from pydantic import AfterValidator
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import find_caller
from workers.api.addresses import address_of
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.api.services import services_of
from workers.images.jobs import ImageRefusedError, Job, Picture, Refused, parse_color
from workers.images.pool import ImagesBusyError, Source
from workers.images.turns import Party

ANY_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"description": "The picture", "content": {"image/*": {}}},
}
"""The argument ``responses`` of a route that answers with pictures."""

limit_drawing = Depends(rate_limit(limit=600, window_s=60, by=("ip", "user", "url")))
"""The dependency of a route that draws: some pages of a hundred pictures a minute, for each user of an address."""


def _check_color(text: str) -> str:
    try:
        parse_color(text)
    except ValueError:
        raise ValueError("Value must be a HEX color: three or six digits, with or without #") from None
    return text


HexColor = Annotated[str, AfterValidator(_check_color)]
"""A parameter that is a color, such as ``ff8800``."""


async def draw(request: Request, job: Job) -> Picture:
    """Return what ``job`` draws by itself, of no image, for whoever sent ``request``.

    Raises:
        ApiError: 503, too much waits to be drawn.
    """
    return await _draw(request, job, None)


async def draw_image(
    request: Request, job: Job, blocks: AsyncGenerator[bytes, None], size_bytes: int
) -> Picture:
    """Return what ``job`` makes of the image that ``blocks`` hold, which are closed, for whoever sent ``request``.

    Raises:
        ApiError: 400, it is no image, or too large a one; 503, too much waits to be drawn.
        OSError: the image cannot be read.
    """
    async with contextlib.aclosing(blocks):
        return await _draw(request, job, Source(size_bytes, blocks))


async def _draw(request: Request, job: Job, source: Source | None) -> Picture:
    services = services_of(request)
    caller = await find_caller(request)
    party = Party(caller.project.id, caller.is_privileged, address_of(request), caller.user_id)
    try:
        return await services.images.draw(job, source, party=party)
    except ImagesBusyError as error:
        raise refuse(Problem.IMAGES_BUSY) from error
    except ImageRefusedError as error:
        if error.why is Refused.UNREADABLE:
            raise refuse(Problem.IMAGE_UNREADABLE) from error
        settings = services.settings
        raise refuse(
            Problem.IMAGE_TOO_LARGE,
            size_bytes=str(settings.preview_max_bytes),
            pixels=str(settings.preview_max_pixels),
        ) from error


def etag_of(job: Job, *origins: str) -> str:
    """Return the entity tag of what ``job`` makes of the image that ``origins`` tell from all others."""
    text = "\n".join(origins).encode() + b"\n" + msgspec.json.encode(job)
    return f'"{hashlib.sha256(text).hexdigest()[:32]}"'


def is_known(request: Request, etag: str) -> bool:
    """Tell whether the client has the picture of this tag already (RFC 9110 section 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    return etag in tags or "*" in tags


def not_modified(etag: str, caching: str) -> Response:
    """Return the answer to a client that has the picture already."""
    headers = {"Cache-Control": caching, "ETag": etag}
    return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)


def picture_response(picture: Picture, caching: str, *, etag: str = "", attachment: str = "") -> Response:
    """Return the answer that shows ``picture``.

    Args:
        picture: what was drawn.
        caching: the header ``Cache-Control``.
        etag: the entity tag, with its quotes; empty for none.
        attachment: what it is saved as, rather than shown; empty to show it.
    """
    headers = {
        "Cache-Control": caching,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }
    if etag:
        headers["ETag"] = etag
    if attachment:
        headers["Content-Disposition"] = f'attachment; filename="{attachment}"'
    return Response(picture.body, media_type=picture.media_type, headers=headers)
