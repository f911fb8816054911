"""Projects: made and managed with the root key (``/v1/projects``), or from within with an API key (``/v1/project``)."""

from fastapi import APIRouter

from workers.api.projects import keys, platforms, policies, project, projects

router = APIRouter()
for module in (projects, project, keys, platforms, policies):
    router.include_router(module.router)
