"""The Storage service: buckets, the files in them, and who may read, change and delete these.

A bucket's permissions hold for all of its files; with file security, a file's own let further people in. To users a
disabled bucket does not exist. Bytes are kept by :mod:`workers.files`. Source: the Storage reference.
"""

from workers.api.dispatch import joined
from workers.api.storage import buckets, creation, downloads, files, previews

router = joined(buckets.router, creation.router, files.router, downloads.router, previews.router)
"""Every route of the service."""
