"""Links in mail: which pages they may lead to, and what is added to their address.

A link carries a secret, so it may lead only to pages of the project: its host has to be one of the project's platforms
(the redirect attack of the OWASP cheat sheet on unvalidated redirects).
"""

import re
from typing import Annotated
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pydantic import Field

from realtime.errors import ClientError
from realtime.identity.model import Project
from realtime.identity.origins import check_origin
from realtime.settings import Settings
from workers.api.problems import Problem, refuse

_ODD = re.compile(r"[\s\\\x00-\x1f\x7f]")
"""What browsers read otherwise than parsers of URLs do."""

LinkUrl = Annotated[
    str,
    Field(max_length=2048, description="A page of the app; its host must be one of the project's platforms."),
]
"""An address that a link in a mail leads to."""


def check_link(url: str, project: Project, settings: Settings) -> None:
    """Refuse an address that is not one of a page of ``project``.

    Raises:
        ApiError: 400 ``general_argument_invalid``.
    """
    try:
        parts = urlsplit(url)
        is_page = parts.scheme in ("http", "https") and bool(parts.hostname) and _ODD.search(url) is None
    except ValueError:
        is_page = False
    if not is_page:
        raise refuse(Problem.ARGUMENT, reason="Invalid `url` param: Value must be a valid URL")
    try:
        check_origin(url, project, platform_hosts=settings.domains)
    except ClientError as error:
        reason = f"Invalid `url` param: Invalid URI. Register your new client ({parts.hostname}) as a new Web platform"
        raise refuse(Problem.ARGUMENT, reason=f"{reason} on your project console dashboard") from error


def extend_link(url: str, **parameters: str) -> str:
    """Return ``url`` with ``parameters`` in its query; those of the same names in it are replaced."""
    parts = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in parameters
    ]
    return urlunsplit(parts._replace(query=urlencode([*kept, *parameters.items()])))
