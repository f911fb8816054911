"""What a body may say about a bucket."""

import pytest
from pydantic import ValidationError

from workers.api.storage.bucket_bodies import BucketChange, NewBucket

BAD_BUCKETS: tuple[tuple[str, dict[str, object]], ...] = (
    ("bucketId", {"name": "Photos"}),
    ("name", {"bucketId": "photos"}),
    ("bucketId", {"bucketId": "../photos", "name": "Photos"}),
    ("name", {"bucketId": "photos", "name": "n" * 129}),
    ("permissions", {"bucketId": "photos", "name": "Photos", "permissions": ['read("nobody")']}),
    ("permissions", {"bucketId": "photos", "name": "Photos", "permissions": ['read("any")'] * 101}),
    ("maximumFileSize", {"bucketId": "photos", "name": "Photos", "maximumFileSize": 0}),
    ("allowedFileExtensions", {"bucketId": "photos", "name": "Photos", "allowedFileExtensions": ["../sh"]}),
    ("allowedFileExtensions", {"bucketId": "photos", "name": "Photos", "allowedFileExtensions": ["a"] * 101}),
    ("compression", {"bucketId": "photos", "name": "Photos", "compression": "gzip"}),
    ("compression", {"bucketId": "photos", "name": "Photos", "compression": "rar"}),
    ("encryption", {"bucketId": "photos", "name": "Photos", "encryption": True}),
    ("antivirus", {"bucketId": "photos", "name": "Photos", "antivirus": True}),
)


class TestNewBucket:
    @pytest.mark.parametrize(("member", "body"), BAD_BUCKETS)
    def test_bad_body_is_refused_by_the_name_of_what_is_wrong(
        self, member: str, body: dict[str, object]
    ) -> None:
        with pytest.raises(ValidationError) as raised:
            NewBucket.model_validate(body)
        assert {error["loc"][0] for error in raised.value.errors()} == {member}

    def test_what_the_server_does_not_do_is_refused_in_plain_words(self) -> None:
        body = {"bucketId": "b", "name": "B", "compression": "zstd", "encryption": True, "antivirus": True}
        with pytest.raises(ValidationError) as raised:
            NewBucket.model_validate(body)
        assert [error["msg"].partition("This server does not ")[2].split()[0] for error in raised.value.errors()] == [
            "compress", "encrypt", "scan",
        ]  # fmt: skip


class TestBucketChange:
    def test_extensions_are_kept_without_dots_in_lower_case_and_once(self) -> None:
        body = BucketChange.model_validate({"name": "B", "allowedFileExtensions": [".PNG", "png", "tar.gz"]})
        assert body.allowedFileExtensions == ["png", "tar.gz"]
