"""The route that shows an image of a bucket cut, scaled and decorated.

A preview is made anew for each request, unless the client has it already: those that are asked for often belong into
the cache of the proxy in front, which can be told who may see them.
"""

from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from workers.api.pictures import (
    ANY_PICTURE,
    HexColor,
    draw_image,
    etag_of,
    is_known,
    limit_drawing,
    not_modified,
    picture_response,
)
from workers.api.problems import Problem, refuse
from workers.api.services import services_of
from workers.api.storage.callers import Reader
from workers.api.storage.lookup import open_file
from workers.files.store import MissingFileError
from workers.images.jobs import MAX_SIDE, Format, Gravity, Preview, parse_color

router = APIRouter(tags=["storage"])

_CACHING = "private, no-cache"
"""Kept by the browser alone, and asked for each time: who may see a file can change."""

_Side = Annotated[int, pydantic.Field(ge=0, le=MAX_SIDE)]


class PreviewParams(pydantic.BaseModel):
    """What a preview is to look like. Empty parameters count as left out."""

    width: _Side = 0
    height: _Side = 0
    gravity: Gravity = Gravity.CENTER
    quality: int = pydantic.Field(default=-1, ge=-1, le=100)
    borderWidth: int = pydantic.Field(default=0, ge=0, le=100)
    borderColor: HexColor = "000000"
    borderRadius: _Side = 0
    opacity: float = pydantic.Field(default=1.0, ge=0, le=1, allow_inf_nan=False)
    rotation: int = pydantic.Field(default=0, ge=-360, le=360)
    background: HexColor | None = None
    output: Literal["jpg", "jpeg", "png", "gif", "webp", "avif"] | None = None
    token: str = pydantic.Field(default="", description="A file's token, in place of permissions.")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _leave_out(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""}

    def job(self) -> Preview:
        """Return what is to be drawn."""
        return Preview(
            width=self.width,
            height=self.height,
            gravity=self.gravity,
            quality=self.quality,
            border_width=self.borderWidth,
            border_color=parse_color(self.borderColor),
            border_radius=self.borderRadius,
            opacity=self.opacity,
            rotation=self.rotation,
            background=None if self.background is None else parse_color(self.background),
            output=None if self.output is None else Format("jpeg" if self.output == "jpg" else self.output),
        )


@router.get(
    "/v1/storage/buckets/{bucketId}/files/{fileId}/preview",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="storageGetFilePreview",
    dependencies=[limit_drawing],
)
async def preview_file(
    request: Request,
    bucketId: str,
    fileId: str,
    caller: Reader,
    params: Annotated[PreviewParams, Query()],
) -> Response:
    """Show a file that is an image: JPEG, PNG, GIF, WebP or AVIF; of an animation, the first picture."""
    services = services_of(request)
    found = await open_file(request, caller, bucketId, fileId)
    if not found.bucket["transformations"] and not caller.is_privileged:
        raise refuse(Problem.TRANSFORMATIONS_DISABLED)
    key, size_bytes = found.file["storage_key"], found.file["size_bytes"]
    job = params.job()
    etag = etag_of(job, key)
    if is_known(request, etag):
        return not_modified(etag, _CACHING)
    try:
        picture = await draw_image(request, job, services.files.read(key, 0, size_bytes), size_bytes)
    except MissingFileError as error:
        raise refuse(Problem.FILE_NOT_FOUND) from error
    return picture_response(picture, _CACHING, etag=etag)
