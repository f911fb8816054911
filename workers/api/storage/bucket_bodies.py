"""The bodies of requests about buckets, and which flags of Appwrite's buckets this server has."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workers.api.granting import ContainerPermissions
from workers.api.params import Body, CustomId, Name

MAX_EXTENSIONS = 100
"""How many extensions a bucket may name."""


def _check_compression(value: str) -> str:
    if value != "none":
        raise ValueError("This server does not compress files. Value must be none")
    return value


def _check_encryption(value: bool) -> bool:
    if value:
        raise ValueError(
            "This server does not encrypt files; encrypt the disk or S3 bucket. Value must be false"
        )
    return value


def _check_antivirus(value: bool) -> bool:
    if value:
        raise ValueError("This server does not scan files for viruses. Value must be false")
    return value


def _as_kept(extensions: list[str]) -> list[str]:
    """Return extensions without their dots, in lower case, each once."""
    return list(dict.fromkeys(extension.removeprefix(".").lower() for extension in extensions))


Extension = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^\.?[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Extensions = Annotated[list[Extension], Field(max_length=MAX_EXTENSIONS), AfterValidator(_as_kept)]
Compression = Annotated[Literal["none", "gzip", "zstd"], AfterValidator(_check_compression)]
Encryption = Annotated[bool, AfterValidator(_check_encryption)]
Antivirus = Annotated[bool, AfterValidator(_check_antivirus)]
MaximumFileSize = Annotated[
    int, Field(ge=1, description="In bytes; at most, and without it, what the server takes at all.")
]


class BucketChange(Body):
    """What a bucket is to be. What is left out, or null, stays as it is."""

    name: Name
    permissions: ContainerPermissions | None = None
    fileSecurity: bool | None = None
    enabled: bool | None = None
    maximumFileSize: MaximumFileSize | None = None
    allowedFileExtensions: Extensions | None = None
    compression: Compression | None = None
    encryption: Encryption | None = None
    antivirus: Antivirus | None = None
    transformations: bool | None = None


class NewBucket(BucketChange):
    """A bucket to be made."""

    bucketId: CustomId
