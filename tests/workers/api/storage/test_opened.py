"""What a bucket and a file decide together, about somebody who is logged in."""

import pytest

from realtime.identity.model import Identity, Project
from workers.api.access import Caller, CallerKind
from workers.api.errors import ApiError
from workers.api.permissions import Action
from workers.api.storage.opened import OpenBucket

ADA = Identity(roles=frozenset({"users", "user:ada"}), user_id="ada")


def opened(
    permissions: list[str], *, file_security: bool = False, kind: CallerKind = CallerKind.USER
) -> OpenBucket:
    caller = Caller(Project(id="demo"), kind, ADA, frozenset())
    return OpenBucket({"permissions": permissions, "file_security": file_security, "seq": 1}, caller)


def answer(bucket: OpenBucket, action: Action, file: list[str]) -> int:
    try:
        bucket.require(action, {"permissions": file})
    except ApiError as error:
        return int(error.status)
    return 200


class TestRequire:
    @pytest.mark.parametrize(
        ("bucket", "file_security", "file", "read", "update", "delete"),
        [
            # Nobody is let in.
            ([], False, [], 404, 404, 404),
            ([], True, [], 404, 404, 404),
            # By the bucket.
            (['read("users")'], False, [], 200, 401, 401),
            (['read("user:ada")', 'update("users")'], False, [], 200, 200, 401),
            (['read("any")', 'write("users")'], False, [], 200, 200, 200),
            (['read("user:bob")'], False, [], 404, 404, 404),
            (['update("users")'], False, [], 404, 200, 404),
            # By the file, if that counts.
            ([], False, ['read("users")', 'write("users")'], 404, 404, 404),
            ([], True, ['read("users")'], 200, 401, 401),
            ([], True, ['read("any")', 'update("user:ada")'], 200, 200, 401),
            ([], True, ['read("users")', 'delete("users")'], 200, 401, 200),
            ([], True, ['write("users")'], 404, 200, 200),
            ([], True, ['read("user:bob")'], 404, 404, 404),
            # By both together.
            (['read("users")'], True, ['update("users")'], 200, 200, 401),
        ],
    )
    def test_bucket_and_file_decide_together(
        self, bucket: list[str], file_security: bool, file: list[str], read: int, update: int, delete: int
    ) -> None:
        """What one may not read is not found; what one may read, and not change, is refused."""
        given = opened(bucket, file_security=file_security)
        assert (answer(given, "read", file), answer(given, "update", file), answer(given, "delete", file)) == (
            read, update, delete,
        )  # fmt: skip

    @pytest.mark.parametrize("kind", [CallerKind.KEY, CallerKind.ROOT])
    def test_servers_may_do_everything(self, kind: CallerKind) -> None:
        assert answer(opened([], kind=kind), "delete", []) == 200


class TestReadable:
    def test_list_of_what_nobody_may_read_is_refused(self) -> None:
        with pytest.raises(ApiError) as raised:
            opened(['update("users")']).readable()
        assert raised.value.type == "user_unauthorized"

    def test_files_are_looked_at_one_by_one_only_if_they_decide(self) -> None:
        assert len(opened(['read("users")'], file_security=True).readable()) == 2
        assert len(opened([], file_security=True).readable()) == 3


class TestEventPermissions:
    def test_those_of_the_file_count_with_file_security(self) -> None:
        file = {"permissions": ['read("user:bob")']}
        assert opened(['read("users")']).event_permissions(file) == ['read("users")']
        assert opened(['read("users")'], file_security=True).event_permissions(file) == [
            'read("users")', 'read("user:bob")',
        ]  # fmt: skip
