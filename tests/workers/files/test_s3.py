"""What is particular to files in S3."""

import pytest

from workers.files.s3 import S3Location, S3Store
from workers.files.store import FileStoreError


class TestS3Location:
    def test_a_url_names_bucket_prefix_place_and_credentials(self) -> None:
        assert S3Location.parse(
            "s3://k%2Fey:s%40cret@My-bucket/a/b/?region=eu-west-1&endpoint=http://127.0.0.1:9000"
        ) == S3Location(
            bucket="My-bucket",
            prefix="a/b/",
            region="eu-west-1",
            endpoint="http://127.0.0.1:9000",
            access_key="k/ey",
            secret_key="s@cret",
        )

    def test_what_is_not_named_is_left_to_the_environment(self) -> None:
        assert S3Location.parse("s3://bucket") == S3Location(bucket="bucket")

    @pytest.mark.parametrize(
        "url", ["s3://", "http://bucket", "s3:///prefix", "s3://bucket?acl=public", "bucket"]
    )
    def test_what_names_no_bucket_is_refused(self, url: str) -> None:
        with pytest.raises(ValueError, match="s3://bucket/prefix"):
            S3Location.parse(url)

    def test_credentials_are_not_shown(self) -> None:
        assert "s3cret" not in repr(S3Location.parse("s3://key:s3cret@bucket"))


class TestS3Store:
    async def test_a_bucket_that_is_not_there_fails_the_check(self, s3_endpoint: str) -> None:
        store = S3Store(S3Location.parse(f"s3://k:s@nobody?region=us-east-1&endpoint={s3_endpoint}"))
        with pytest.raises(FileStoreError):
            await store.check()
        await store.aclose()

    async def test_a_server_that_is_away_is_an_error_of_the_store(self) -> None:
        store = S3Store(S3Location.parse("s3://k:s3cret@bucket?region=us-east-1&endpoint=http://127.0.0.1:1"))
        with pytest.raises(FileStoreError) as raised:
            await store.check()
        assert "s3cret" not in str(raised.value)
        await store.aclose()
