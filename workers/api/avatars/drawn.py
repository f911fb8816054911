"""Routes of pictures that are drawn here: initials and QR codes."""

from typing import Annotated, Any, Literal

import pydantic
from fastapi import APIRouter, Depends, Query
from sqlalchemy import select
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import Caller, requires
from workers.api.pictures import (
    ANY_PICTURE,
    HexColor,
    draw,
    etag_of,
    is_known,
    limit_drawing,
    not_modified,
    picture_response,
)
from workers.api.services import Services, services_of
from workers.images.jobs import Initials, QrCode, parse_color
from workers.store.tables import users

router = APIRouter(tags=["avatars"])

MAX_SIDE = 2000
"""How many pixels a side of an avatar has at most."""

CACHING = "private, max-age=86400"
"""The same request leads to the same picture, but initials without a name are those of whoever asks."""

Side = Annotated[int, pydantic.Field(ge=0, le=MAX_SIDE)]
"""A parameter for one side of an avatar, in pixels; 0 follows from the other."""

Viewer = Annotated[Caller, Depends(requires("avatars.read"))]
"""Whoever may look at avatars."""


class AvatarParams(pydantic.BaseModel):
    """Parameters of an avatar. Empty ones count as left out."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _leave_out(cls, values: Any) -> Any:
        return {name: value for name, value in values.items() if value != ""}


class InitialsParams(AvatarParams):
    """Whose initials, and how they look."""

    name: str = pydantic.Field(default="", max_length=128)
    width: Side = 100
    height: Side = 100
    background: HexColor | None = None

    def job(self, name: str) -> Initials:
        """Return what is to be drawn for ``name``."""
        return Initials(
            name,
            # A square if only one side is given, and the default if none is.
            width=self.width or self.height or 100,
            height=self.height or self.width or 100,
            background=None if self.background is None else parse_color(self.background),
        )


class QrParams(AvatarParams):
    """What a QR code says, and how it looks."""

    text: str = pydantic.Field(max_length=512)
    size: int = pydantic.Field(default=400, ge=1, le=1000)
    margin: int = pydantic.Field(default=1, ge=0, le=10)
    download: Literal["0", "1", "false", "true"] = pydantic.Field(
        default="0", description="Whether it is saved rather than shown."
    )


@router.get(
    "/v1/avatars/initials",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetInitials",
    dependencies=[limit_drawing],
)
async def get_initials(
    request: Request, caller: Viewer, params: Annotated[InitialsParams, Query()]
) -> Response:
    """Draw the initials of a name; without one, of the user who asks."""
    services = services_of(request)
    name = params.name or await _own_name(services, caller)
    return await _respond(request, params.job(name))


async def _own_name(services: Services, caller: Caller) -> str:
    """Return the name of the user who asks, or else their address; empty when nobody is logged in."""
    if not caller.user_id:
        return ""
    async with services.store.read() as connection:
        found = await connection.execute(
            select(users.c.name, users.c.email).where(
                users.c.project_id == caller.project.id, users.c.id == caller.user_id
            )
        )
        row = found.one_or_none()
    return "" if row is None else row.name or row.email or ""


@router.get(
    "/v1/avatars/qr",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetQR",
    dependencies=[Depends(requires("avatars.read")), limit_drawing],
)
async def get_qr(request: Request, params: Annotated[QrParams, Query()]) -> Response:
    """Draw a text as a QR code."""
    saved_as = "qr.png" if params.download in {"1", "true"} else ""
    return await _respond(request, QrCode(params.text, params.size, params.margin), saved_as)


async def _respond(request: Request, job: Initials | QrCode, attachment: str = "") -> Response:
    etag = etag_of(job)
    if is_known(request, etag):
        return not_modified(etag, CACHING)
    picture = await draw(request, job)
    return picture_response(picture, CACHING, etag=etag, attachment=attachment)
