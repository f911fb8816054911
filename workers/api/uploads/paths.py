"""Which routes take files: their bodies have limits of their own, and may hold any bytes."""

import re

PATHS = re.compile(r"/v1/storage/buckets/[^/]+/files|/v1/functions/[^/]+/deployments")
"""The paths, whole; of requests that send ``multipart/form-data``."""
