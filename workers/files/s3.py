"""Bytes in a bucket of S3, or of a server that speaks its protocol. Needs the extra ``s3`` (aiobotocore).

Parts are S3's own, so an upload in chunks is never copied, and any API process can take any part. What is read is read
in pieces, each as fast as S3 sends it: a connection is never held for as long as somebody takes to use the bytes.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import parse_qs, unquote, urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from workers.files.store import BLOCK_BYTES, MAX_PARTS, FileStoreError, MissingFileError, check_key
from workers.files.threads import in_thread

MIN_PART_BYTES = 5 * 1024 * 1024
"""What S3 refuses to go below, but for the last part."""

_PUT_PART_BYTES = 8 * 1024 * 1024
"""How much of a file in one piece is sent, and held in memory, at a time."""

_READ_BYTES = 1024 * 1024
"""How much of an object is asked for, and held in memory, at a time."""

_MISSING = frozenset({"NoSuchKey", "NoSuchUpload", "404"})
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60
_CHECK_TIMEOUT_S = 5
_CONNECTIONS = 50
_WAIT_TIMEOUT_S = 10
"""How long a request waits for one of the connections."""
_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class S3Location:
    """Where a bucket is, and what opens it. What is empty comes from the usual AWS variables and files."""

    bucket: str
    prefix: str = ""
    """Before each key; ends with a slash unless empty."""
    region: str = ""
    endpoint: str = ""
    """The URL of a server other than AWS."""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> "S3Location":
        """Return the place that ``s3://key:secret@bucket/prefix?region=…&endpoint=…`` names.

        Raises:
            ValueError: it names no bucket, or options that there are not. No secret is in the text.
        """
        split = urlsplit(url)
        options = {name: values[-1] for name, values in parse_qs(split.query).items()}
        unknown = options.keys() - {"region", "endpoint"}
        if split.scheme != "s3" or not split.hostname or unknown:
            raise ValueError(
                "REALTIME_FILES_URL must look like s3://bucket/prefix?region=…&endpoint=…, or be empty."
            )
        prefix = split.path.strip("/")
        return cls(
            bucket=split.netloc.rpartition("@")[2],
            prefix=f"{prefix}/" if prefix else "",
            region=options.get("region", ""),
            endpoint=options.get("endpoint", ""),
            access_key=unquote(split.username or ""),
            secret_key=unquote(split.password or ""),
        )


class S3Store:
    """Keeps bytes in a bucket, which exists. Implements :class:`~workers.files.store.FileStore`."""

    min_part_bytes = MIN_PART_BYTES

    def __init__(self, location: S3Location) -> None:
        self._location = location
        self._free = asyncio.Semaphore(_CONNECTIONS)
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()
        self._opened: Any = None

    async def put(self, key: str, source: BinaryIO, size_bytes: int) -> None:
        """Send an object: in one request if it is small, in parts otherwise."""
        if size_bytes <= _PUT_PART_BYTES:
            body = await in_thread(_read_at, source, 0, size_bytes)
            await self._call("put_object", key, Body=body)
            return
        token = await self.begin(key, size_bytes)
        try:
            for number, offset in enumerate(range(0, size_bytes, _part_bytes(size_bytes)), start=1):
                length = min(_part_bytes(size_bytes), size_bytes - offset)
                body = await in_thread(_read_at, source, offset, length)
                await self._call("upload_part", key, UploadId=token, PartNumber=number, Body=body)
            await self.complete(key, token, size_bytes)
        except BaseException:
            await self.abort(key, token)
            raise

    async def begin(self, key: str, total_bytes: int) -> str:
        """Begin a multipart upload."""
        del total_bytes
        created = await self._call("create_multipart_upload", key, ContentType="application/octet-stream")
        return str(created["UploadId"])

    async def put_part(
        self, key: str, token: str, *, number: int, offset: int, source: BinaryIO, size_bytes: int
    ) -> None:
        """Send a part. One that is larger than a few megabytes is read as it is sent."""
        del offset
        if size_bytes <= _PUT_PART_BYTES:
            body: Any = await in_thread(_read_at, source, 0, size_bytes)
            await self._call("upload_part", key, UploadId=token, PartNumber=number, Body=body)
            return
        # A second descriptor, since the client closes what it has sent.
        with open(os.dup(source.fileno()), "rb") as body:  # noqa: ASYNC230, PTH123 - it is open already
            body.seek(0)
            await self._call(
                "upload_part", key, UploadId=token, PartNumber=number, Body=body, ContentLength=size_bytes
            )

    async def complete(self, key: str, token: str, total_bytes: int) -> None:
        """Make the object of its parts."""
        try:
            parts = await self._parts(key, token)
            if sum(part["Size"] for part in parts) != total_bytes:
                raise FileStoreError(f"The parts of {key} do not make {total_bytes} bytes.")
            listed = [{"ETag": part["ETag"], "PartNumber": part["PartNumber"]} for part in parts]
            await self._call(
                "complete_multipart_upload", key, UploadId=token, MultipartUpload={"Parts": listed}
            )
        except MissingFileError:
            # Done before, perhaps.
            head = await self._call("head_object", key)
            if head["ContentLength"] != total_bytes:
                raise

    async def _parts(self, key: str, token: str) -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        marker = 0
        while True:
            page = await self._call("list_parts", key, UploadId=token, PartNumberMarker=marker)
            parts += page.get("Parts", ())
            if not page.get("IsTruncated"):
                return parts
            marker = page["NextPartNumberMarker"]

    async def abort(self, key: str, token: str) -> None:
        """Give a multipart upload up."""
        if token:
            with contextlib.suppress(MissingFileError):
                await self._call("abort_multipart_upload", key, UploadId=token)

    async def unfinished(self, older_than_s: float) -> list[tuple[str, str]]:
        """List multipart uploads by when they began. S3 does not say when the last part came."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        found: list[tuple[str, str]] = []
        page: dict[str, Any] = {}
        while True:
            page = await self._ask("list_multipart_uploads", "the bucket", self._after(page))
            found += [
                (upload["Key"].removeprefix(self._location.prefix), upload["UploadId"])
                for upload in page.get("Uploads", ())
                if upload["Initiated"] < before
            ]
            if not page.get("IsTruncated"):
                return found

    def _after(self, page: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments that list the page after ``page``; the first one after an empty one."""
        arguments = {"Prefix": self._location.prefix}
        if page:
            arguments["KeyMarker"] = page["NextKeyMarker"]
            arguments["UploadIdMarker"] = page["NextUploadIdMarker"]
        return arguments

    async def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Read a range of an object, in pieces that are asked for one after the other."""
        while start < end:
            piece = await self._read_piece(key, start, min(end, start + _READ_BYTES))
            for offset in range(0, len(piece), BLOCK_BYTES):
                yield piece[offset : offset + BLOCK_BYTES]
            start += len(piece)

    async def _read_piece(self, key: str, start: int, end: int) -> bytes:
        async with self._connection():
            found = await self._request("get_object", key, self._at(key, Range=f"bytes={start}-{end - 1}"))
            try:
                async with found["Body"] as body:
                    piece: bytes = await body.read()
            except BotoCoreError as error:
                raise FileStoreError(f"S3 stopped sending: {type(error).__name__}.") from error
        if len(piece) != end - start:
            raise FileStoreError(f"{key} is shorter than it should be.")
        return piece

    async def copy(self, source: str, key: str) -> None:
        """Have S3 copy an object, of at most 5 GiB."""
        place = {"Bucket": self._location.bucket, "Key": self._location.prefix + check_key(source)}
        await self._call("copy_object", key, CopySource=place)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        with contextlib.suppress(MissingFileError):
            await self._call("delete_object", key)

    async def check(self) -> None:
        """Ask for the bucket."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                await self._ask("head_bucket", "the bucket", {})
        except TimeoutError as error:
            raise FileStoreError("S3 does not answer.") from error

    async def aclose(self) -> None:
        """Close the connections."""
        await self._closing.aclose()

    async def _call(self, operation: str, key: str, **arguments: Any) -> Any:
        return await self._ask(operation, key, self._at(key, **arguments))

    async def _ask(self, operation: str, key: str, arguments: dict[str, Any]) -> Any:
        async with self._connection():
            return await self._request(operation, key, arguments)

    def _at(self, key: str, **arguments: Any) -> dict[str, Any]:
        return {"Key": self._location.prefix + check_key(key), **arguments}

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[None]:
        """Have one of the connections until the block ends: the client's own queue for them has no end."""
        try:
            async with asyncio.timeout(_WAIT_TIMEOUT_S):
                await self._free.acquire()
        except TimeoutError as error:
            raise FileStoreError("All connections to S3 are in use.") from error
        try:
            yield
        finally:
            self._free.release()

    async def _request(self, operation: str, key: str, arguments: dict[str, Any]) -> Any:
        try:
            client = await self._client()
            return await getattr(client, operation)(Bucket=self._location.bucket, **arguments)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise MissingFileError(key) from error
            raise FileStoreError(f"S3 refused {operation}: {code}.") from error
        except BotoCoreError as error:
            # Not its text, which may quote the endpoint with what is in it.
            raise FileStoreError(f"S3 cannot be reached for {operation}: {type(error).__name__}.") from error

    async def _client(self) -> Any:
        async with self._opening:
            if self._opened is None:
                self._opened = await self._closing.enter_async_context(_new_client(self._location))
            return self._opened


def _new_client(location: S3Location) -> Any:
    return get_session().create_client(
        "s3",
        region_name=location.region or None,
        endpoint_url=location.endpoint or None,
        aws_access_key_id=location.access_key or None,
        aws_secret_access_key=location.secret_key or None,
        config=AioConfig(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            max_pool_connections=_CONNECTIONS,
            retries={"max_attempts": _ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path"} if location.endpoint else None,
            # Servers other than AWS need not know the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _part_bytes(size_bytes: int) -> int:
    return max(_PUT_PART_BYTES, -(-size_bytes // MAX_PARTS))


def _read_at(source: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """Return exactly ``size_bytes`` of ``source``."""
    blocks = []
    while size_bytes:
        block = os.pread(source.fileno(), size_bytes, offset)
        if not block:
            raise FileStoreError("There are fewer bytes to be kept than were announced.")
        blocks.append(block)
        offset += len(block)
        size_bytes -= len(block)
    return b"".join(blocks)
