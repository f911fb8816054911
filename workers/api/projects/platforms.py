"""Routes of a project's platforms: the web pages and apps that may call."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import AfterValidator
from pydantic import Field as BodyField
from sqlalchemy import RowMapping, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from realtime.identity.model import Platform
from workers.api.access import Caller, requires
from workers.api.listing import ListParams, list_params
from workers.api.params import Body, CustomId, Name
from workers.api.problems import Problem, refuse
from workers.api.projects.access import require_row
from workers.api.responses import documented, respond
from workers.api.services import services_of
from workers.models.projects import PlatformList, platform_family, platform_model
from workers.store import projects as store
from workers.store.fields import Field
from workers.store.ids import choose_id
from workers.store.pages import fetch_page
from workers.store.tables import platforms

router = APIRouter(tags=["project"])

FIELDS = {
    "$id": Field(platforms.c.id, "id"),
    "$createdAt": Field(platforms.c.created_at, "datetime"),
    "$updatedAt": Field(platforms.c.updated_at, "datetime"),
    "type": Field(platforms.c.type, "string"),
    "name": Field(platforms.c.name, "string"),
    "hostname": Field(platforms.c.hostname, "string"),
    "bundleIdentifier": Field(platforms.c.key, "string"),
    "applicationId": Field(platforms.c.key, "string"),
    "packageIdentifierName": Field(platforms.c.key, "string"),
    "packageName": Field(platforms.c.key, "string"),
}
"""What platforms are listed by."""

Reader = Annotated[Caller, Depends(requires("platforms.read"))]
Writer = Annotated[Caller, Depends(requires("platforms.write"))]

_HOST = re.compile(r"\*|(?:\*\.)?[^\s/:?#*@\[\]]+|\[[0-9A-Fa-f:.]+\]")


def _check_host(value: str) -> str:
    if _HOST.fullmatch(value) is None:
        raise ValueError("Value must be a host name, without scheme, port and path; it may begin with *.")
    return value


Host = Annotated[str, AfterValidator(_check_host), BodyField(max_length=256)]
AppName = Annotated[str, BodyField(min_length=1, max_length=256)]


class WebPlatform(Body):
    """What a web page is to be."""

    name: Name
    app: Host = BodyField(alias="hostname")


class NewWebPlatform(WebPlatform):
    """A web page to be let in."""

    platformId: CustomId


class ApplePlatform(Body):
    """What an app for iOS, macOS, watchOS or tvOS is to be."""

    name: Name
    app: AppName = BodyField(alias="bundleIdentifier")


class NewApplePlatform(ApplePlatform):
    """An app for iOS, macOS, watchOS or tvOS to be let in."""

    platformId: CustomId


class AndroidPlatform(Body):
    """What an app for Android is to be."""

    name: Name
    app: AppName = BodyField(alias="applicationId")


class NewAndroidPlatform(AndroidPlatform):
    """An app for Android to be let in."""

    platformId: CustomId


class LinuxPlatform(Body):
    """What an app for Linux is to be."""

    name: Name
    app: AppName = BodyField(alias="packageName")


class NewLinuxPlatform(LinuxPlatform):
    """An app for Linux to be let in."""

    platformId: CustomId


class WindowsPlatform(Body):
    """What an app for Windows is to be."""

    name: Name
    app: AppName = BodyField(alias="packageIdentifierName")


class NewWindowsPlatform(WindowsPlatform):
    """An app for Windows to be let in."""

    platformId: CustomId


@router.get(
    "/v1/project/platforms",
    response_model=None,
    responses=documented(PlatformList),
    operation_id="projectListPlatforms",
)
async def list_platforms(
    request: Request, caller: Reader, params: Annotated[ListParams, Depends(list_params)]
) -> Response:
    """List the platforms."""
    async with services_of(request).store.read() as connection:
        page = await fetch_page(
            connection,
            platforms,
            FIELDS,
            params.query(FIELDS),
            where=[platforms.c.project_id == caller.project.id],
            count=params.total,
        )
    return respond({"total": page.total, "platforms": [platform_model(row) for row in page.rows]})


@router.get(
    "/v1/project/platforms/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectGetPlatform",
)
async def get_platform(request: Request, platformId: str, caller: Reader) -> Response:
    """Get a platform."""
    async with services_of(request).store.read() as connection:
        return respond(platform_model(await _require(connection, caller, platformId)))


@router.delete(
    "/v1/project/platforms/{platformId}",
    response_model=None,
    responses=documented(None),
    operation_id="projectDeletePlatform",
)
async def delete_platform(request: Request, platformId: str, caller: Writer) -> Response:
    """Let a web page or app in no more."""
    async with services_of(request).store.write(caller.project) as tx:
        if not await store.delete_platform(tx, platformId):
            raise refuse(Problem.PLATFORM_NOT_FOUND)
    return respond(None)


@router.post(
    "/v1/project/platforms/web",
    response_model=None,
    responses=documented(dict[str, Any], 201),
    operation_id="projectCreateWebPlatform",
)
async def create_web_platform(request: Request, body: NewWebPlatform, caller: Writer) -> Response:
    """Let a web page in."""
    return await _create(request, caller, "web", body.platformId, body.name, body.app)


@router.put(
    "/v1/project/platforms/web/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectUpdateWebPlatform",
)
async def update_web_platform(
    request: Request, platformId: str, body: WebPlatform, caller: Writer
) -> Response:
    """Change a web page."""
    return await _update(request, caller, "web", platformId, body.name, body.app)


@router.post(
    "/v1/project/platforms/apple",
    response_model=None,
    responses=documented(dict[str, Any], 201),
    operation_id="projectCreateApplePlatform",
)
async def create_apple_platform(request: Request, body: NewApplePlatform, caller: Writer) -> Response:
    """Let an app for iOS, macOS, watchOS or tvOS in."""
    return await _create(request, caller, "apple", body.platformId, body.name, body.app)


@router.put(
    "/v1/project/platforms/apple/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectUpdateApplePlatform",
)
async def update_apple_platform(
    request: Request, platformId: str, body: ApplePlatform, caller: Writer
) -> Response:
    """Change an app for iOS, macOS, watchOS or tvOS."""
    return await _update(request, caller, "apple", platformId, body.name, body.app)


@router.post(
    "/v1/project/platforms/android",
    response_model=None,
    responses=documented(dict[str, Any], 201),
    operation_id="projectCreateAndroidPlatform",
)
async def create_android_platform(request: Request, body: NewAndroidPlatform, caller: Writer) -> Response:
    """Let an app for Android in."""
    return await _create(request, caller, "android", body.platformId, body.name, body.app)


@router.put(
    "/v1/project/platforms/android/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectUpdateAndroidPlatform",
)
async def update_android_platform(
    request: Request, platformId: str, body: AndroidPlatform, caller: Writer
) -> Response:
    """Change an app for Android."""
    return await _update(request, caller, "android", platformId, body.name, body.app)


@router.post(
    "/v1/project/platforms/linux",
    response_model=None,
    responses=documented(dict[str, Any], 201),
    operation_id="projectCreateLinuxPlatform",
)
async def create_linux_platform(request: Request, body: NewLinuxPlatform, caller: Writer) -> Response:
    """Let an app for Linux in."""
    return await _create(request, caller, "linux", body.platformId, body.name, body.app)


@router.put(
    "/v1/project/platforms/linux/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectUpdateLinuxPlatform",
)
async def update_linux_platform(
    request: Request, platformId: str, body: LinuxPlatform, caller: Writer
) -> Response:
    """Change an app for Linux."""
    return await _update(request, caller, "linux", platformId, body.name, body.app)


@router.post(
    "/v1/project/platforms/windows",
    response_model=None,
    responses=documented(dict[str, Any], 201),
    operation_id="projectCreateWindowsPlatform",
)
async def create_windows_platform(request: Request, body: NewWindowsPlatform, caller: Writer) -> Response:
    """Let an app for Windows in."""
    return await _create(request, caller, "windows", body.platformId, body.name, body.app)


@router.put(
    "/v1/project/platforms/windows/{platformId}",
    response_model=None,
    responses=documented(dict[str, Any]),
    operation_id="projectUpdateWindowsPlatform",
)
async def update_windows_platform(
    request: Request, platformId: str, body: WindowsPlatform, caller: Writer
) -> Response:
    """Change an app for Windows."""
    return await _update(request, caller, "windows", platformId, body.name, body.app)


async def _create(
    request: Request, caller: Caller, family: str, requested_id: str, name: str, app: str
) -> Response:
    platform = Platform(type=family, name=name, **{_column(family): app})
    async with services_of(request).store.write(caller.project) as tx:
        await require_row(tx.connection, caller.project.id, lock=True)
        try:
            row = await store.create_platform(tx, choose_id(requested_id), platform)
        except IntegrityError as error:
            raise refuse(Problem.PLATFORM_EXISTS) from error
    return respond(platform_model(row), 201)


async def _update(
    request: Request, caller: Caller, family: str, platform_id: str, name: str, app: str
) -> Response:
    async with services_of(request).store.write(caller.project) as tx:
        before = await _require(tx.connection, caller, platform_id)
        if platform_family(before["type"]) != family:
            raise refuse(Problem.PLATFORM_NOT_FOUND)
        row = await store.update_platform(tx, platform_id, {"name": name, _column(family): app})
        if row is None:
            raise refuse(Problem.PLATFORM_NOT_FOUND)
    return respond(platform_model(row))


def _column(family: str) -> str:
    return "hostname" if family == "web" else "key"


async def _require(connection: AsyncConnection, caller: Caller, platform_id: str) -> RowMapping:
    found = await connection.execute(
        select(platforms).where(platforms.c.project_id == caller.project.id, platforms.c.id == platform_id)
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise refuse(Problem.PLATFORM_NOT_FOUND)
    return row
