"""Routes of pictures that are not there: whoever asks is told so in plain words, rather than that there is no route."""

from fastapi import APIRouter, Depends
from starlette.responses import Response

from workers.api.access import requires
from workers.api.pictures import ANY_PICTURE
from workers.api.problems import Problem, refuse

router = APIRouter(tags=["avatars"], dependencies=[Depends(requires("avatars.read"))])


@router.get(
    "/v1/avatars/browsers/{code}",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetBrowser",
)
async def get_browser(code: str) -> Response:  # noqa: ARG001 - stands in the path
    """Refused: logos of browsers do not come along."""
    raise refuse(Problem.PICTURES_MISSING, what="logos of browsers")


@router.get(
    "/v1/avatars/credit-cards/{code}",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetCreditCard",
)
async def get_credit_card(code: str) -> Response:  # noqa: ARG001 - stands in the path
    """Refused: logos of credit cards do not come along."""
    raise refuse(Problem.PICTURES_MISSING, what="logos of credit cards")


@router.get(
    "/v1/avatars/flags/{code}",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetFlag",
)
async def get_flag(code: str) -> Response:  # noqa: ARG001 - stands in the path
    """Refused: flags do not come along."""
    raise refuse(Problem.PICTURES_MISSING, what="flags")


@router.get(
    "/v1/avatars/screenshots",
    response_model=None,
    responses=ANY_PICTURE,
    operation_id="avatarsGetScreenshot",
)
async def get_screenshot() -> Response:
    """Refused: there is no browser that could take them."""
    raise refuse(Problem.PICTURES_MISSING, what="screenshots of pages")
