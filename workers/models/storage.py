"""Buckets, files and the tokens that open files, as clients are shown them. Pure."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

from workers.models.people import Row

Bucket = TypedDict(
    "Bucket",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "fileSecurity": bool,
        "name": str,
        "enabled": bool,
        "maximumFileSize": int,
        "allowedFileExtensions": list[str],
        "compression": str,
        "encryption": bool,
        "antivirus": bool,
        "transformations": bool,
        "totalSize": int,
    },
)
"""A bucket; sizes are in bytes."""


class BucketList(TypedDict):
    """A page of buckets."""

    total: int
    buckets: list[Bucket]


File = TypedDict(
    "File",
    {
        "$id": str,
        "bucketId": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "name": str,
        "signature": str,
        "mimeType": str,
        "sizeOriginal": int,
        "sizeActual": int,
        "chunksTotal": int,
        "chunksUploaded": int,
        "encryption": bool,
        "compression": str,
    },
)
"""A file; sizes are in bytes. One that is still being uploaded has fewer chunks uploaded than in total."""


class FileList(TypedDict):
    """A page of files."""

    total: int
    files: list[File]


ResourceToken = TypedDict(
    "ResourceToken",
    {
        "$id": str,
        "$createdAt": str,
        "resourceId": str,
        "resourceType": str,
        "expire": str,
        "secret": str,
        "accessedAt": str,
    },
)
"""A token that opens one resource; ``resourceId`` of a file is that of its bucket and its own, joined by a colon."""


class ResourceTokenList(TypedDict):
    """A page of tokens."""

    total: int
    tokens: list[ResourceToken]


def bucket_model(row: Row) -> Bucket:
    """Return the model of a row of ``buckets``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "$permissions": row["permissions"],
        "fileSecurity": row["file_security"],
        "name": row["name"],
        "enabled": row["enabled"],
        "maximumFileSize": row["max_file_bytes"],
        "allowedFileExtensions": row["extensions"],
        "compression": "none",
        "encryption": False,
        "antivirus": False,
        "transformations": row["transformations"],
        "totalSize": row["total_bytes"],
    }


def file_model(row: Row, bucket_id: str, *, chunks_uploaded: int | None = None) -> File:
    """Return the model of a row of ``files``.

    Args:
        row: the file.
        bucket_id: the bucket that it is in.
        chunks_uploaded: how many chunks are there; None for all of them.
    """
    return {
        "$id": row["id"],
        "bucketId": bucket_id,
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "$permissions": row["permissions"],
        "name": row["name"],
        "signature": row["signature"],
        "mimeType": row["mime_type"],
        "sizeOriginal": row["size_bytes"],
        "sizeActual": row["size_bytes"],
        "chunksTotal": row["chunks"],
        "chunksUploaded": row["chunks"] if chunks_uploaded is None else chunks_uploaded,
        "encryption": False,
        "compression": "none",
    }


def token_model(row: Mapping[Any, Any], secret: str) -> ResourceToken:
    """Return the model of a row of ``file_tokens``, with the secret that opens the file."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "resourceId": f"{row['bucket_id']}:{row['file_id']}",
        "resourceType": "files",
        "expire": row["expires_at"] or "",
        "secret": secret,
        "accessedAt": row["accessed_at"] or "",
    }
