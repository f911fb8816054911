"""Routes of pictures from elsewhere: an image by its URL, and the icon of a web site.

Whatever comes back is decoded and drawn anew, so nothing of it but pixels reaches the client.
"""

import asyncio
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Annotated

import pydantic
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import requires
from workers.api.avatars.drawn import CACHING, AvatarParams, Side
from workers.api.avatars.fetching import FetchError, fetch
from workers.api.avatars.icons import MAX_PAGE_BYTES, icon_of
from workers.api.errors import ApiError, bad_request
from workers.api.pictures import ANY_PICTURE, draw_image, picture_response
from workers.api.problems import Problem, refuse
from workers.api.rates import rate_limit
from workers.images.jobs import Format, Picture, Preview
from workers.outbound.lookups import LookUpsBusyError
from workers.outbound.targets import MAX_URL_CHARS, TargetError

router = APIRouter(
    tags=["avatars"],
    dependencies=[
        Depends(requires("avatars.read")),
        # Each has this server send a request elsewhere.
        Depends(rate_limit(limit=60, window_s=60, by=("ip",))),
    ],
)

_ICON_SIDE = 56
_MAX_ICON_BYTES = 1_048_576
_MAX_IMAGE_BYTES = 8_388_608

# A page can be written to keep its reader busy: these threads do nothing else.
_READERS = ThreadPoolExecutor(2, thread_name_prefix="realtime-pages")

Url = Annotated[str, pydantic.Field(max_length=MAX_URL_CHARS)]


class ImageParams(AvatarParams):
    """Which image, and how large it is to be."""

    url: Url
    width: Side = 400
    height: Side = 400


class FaviconParams(AvatarParams):
    """Which web site."""

    url: Url


@router.get("/v1/avatars/image", response_model=None, responses=ANY_PICTURE, operation_id="avatarsGetImage")
async def get_image(request: Request, params: Annotated[ImageParams, Query()]) -> Response:
    """Fetch an image and cut it to a size."""
    try:
        body = await _fetch(params.url, _MAX_IMAGE_BYTES)
    except FetchError as error:
        raise refuse(Problem.AVATAR_IMAGE_NOT_FOUND) from error
    picture = await _redrawn(request, body, Preview(width=params.width, height=params.height))
    return picture_response(picture, CACHING)


@router.get(
    "/v1/avatars/favicon", response_model=None, responses=ANY_PICTURE, operation_id="avatarsGetFavicon"
)
async def get_favicon(request: Request, params: Annotated[FaviconParams, Query()]) -> Response:
    """Fetch the icon of a web site."""
    try:
        page = await _fetch(params.url, MAX_PAGE_BYTES, truncate=True)
    except FetchError as error:
        raise refuse(Problem.AVATAR_REMOTE_URL) from error
    icon_url = await asyncio.get_running_loop().run_in_executor(_READERS, icon_of, page, params.url)
    job = Preview(width=_ICON_SIDE, height=_ICON_SIDE, output=Format.PNG, accept_icons=True)
    try:
        icon = await fetch(icon_url, max_bytes=_MAX_ICON_BYTES)
    except LookUpsBusyError as error:
        raise refuse(Problem.BUSY) from error
    except (FetchError, TargetError) as error:
        raise refuse(Problem.AVATAR_ICON_NOT_FOUND) from error
    return picture_response(await _redrawn(request, icon, job), CACHING)


async def _fetch(url: str, max_bytes: int, *, truncate: bool = False) -> bytes:
    """Fetch what the request names.

    Raises:
        ApiError: 400, the URL is wrong; 503, too many hosts are being looked up.
        FetchError: as :func:`fetch`.
    """
    try:
        return await fetch(url, max_bytes=max_bytes, truncate=truncate)
    except TargetError as error:
        raise bad_request(f"Invalid `url` param: {error}.") from error
    except LookUpsBusyError as error:
        raise refuse(Problem.BUSY) from error


async def _redrawn(request: Request, body: bytes, job: Preview) -> Picture:
    """Return an image that was fetched, drawn anew.

    Raises:
        ApiError: 404, it is no image or too large a one; 503, too much waits to be drawn.
    """
    try:
        return await draw_image(request, job, _whole(body), len(body))
    except ApiError as error:
        if error.status == HTTPStatus.BAD_REQUEST:
            raise refuse(Problem.AVATAR_IMAGE_NOT_FOUND) from error
        raise


async def _whole(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body
