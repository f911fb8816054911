"""Projects: made and managed with the root key (``/v1/projects``), or from within with an API key (``/v1/project``)."""

from workers.api.dispatch import joined
from workers.api.projects import keys, platforms, policies, project, projects

router = joined(projects.router, project.router, keys.router, platforms.router, policies.router)
