"""The Functions service: functions, their variables and deployments, and executions.

Functions belong to servers: only API keys make and see them. Executions are also for the users and guests whom a
function names; each sees their own. What runs the code is behind a port (:mod:`workers.functions.executor`). Source:
the Functions reference; wire specification 9.4 and 12.
"""

from workers.api.dispatch import joined
from workers.api.functions import deployment_uploads, deployments, executions, functions, variables

router = joined(
    functions.router, deployments.router, deployment_uploads.router, variables.router, executions.router
)
"""Every route of the service."""
