import zlib
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from realtime.bus import keys

PROJECT_IDS = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,35}\Z")


def names_of(project: str) -> list[str]:
    return [
        keys.log_key(project),
        keys.live_channel(project),
        keys.idempotency_key(project, "k"),
        keys.project_key(project),
        keys.user_key(project, "u1"),
        keys.user_emails_key(project),
        keys.user_phones_key(project),
        keys.keys_key(project),
        keys.resume_key(project, "0011223344556677", "3f5b9c0d7a1e4f2b8c6d"),
        keys.resume_floor_key(project, "0011223344556677"),
        keys.outbox_key(project, "o"),
        keys.window_key(project, "n", 7),
        keys.triggers_key(project),
        *(keys.trigger_names_key(project, kind) for kind in keys.WORK_KINDS),
        keys.presences_key(project),
        keys.presence_users_key(project),
        keys.presence_order_key(project),
        keys.presence_number_key(project),
        keys.presence_lists_key(project),
        keys.presence_holders_key(project, "u1"),
        *names_of_bucket(keys.bucket(project)),
    ]


def names_of_bucket(number: int) -> list[str]:
    return [
        keys.projects_key(number),
        keys.triggers_version_key(number),
        *(keys.work_key(number, kind) for kind in keys.WORK_KINDS),
        *(keys.work_dead_key(number, kind) for kind in keys.WORK_KINDS),
        keys.presence_ends_key(number),
        keys.presence_leases_key(number),
        keys.presence_hub_key(number, "0011223344556677"),
    ]


class TestNames:
    @given(PROJECT_IDS)
    def test_everything_of_a_project_lies_in_one_cluster_slot(self, project: str) -> None:
        assert len({key_slot(name.encode()) for name in names_of(project)}) == 1

    @given(PROJECT_IDS)
    def test_names_of_a_project_are_all_different(self, project: str) -> None:
        assert len(set(names_of(project))) == len(names_of(project))

    @given(PROJECT_IDS, PROJECT_IDS)
    def test_two_projects_share_only_what_is_of_their_bucket(self, one: str, other: str) -> None:
        if one != other:
            shared = set(names_of(one)) & set(names_of(other))
            assert shared <= set(names_of_bucket(keys.bucket(one)))

    def test_the_tag_is_the_bucket(self) -> None:
        number = zlib.crc32(b"demo") % 64

        assert keys.log_key("demo") == f"{{b{number}}}:log:demo"
        assert keys.live_channel("demo") == f"{{b{number}}}:live:demo"
        assert keys.user_key("demo", "u1") == f"{{b{number}}}:user:demo:u1"

    @given(st.text())
    def test_bucket_of_any_project_is_in_range(self, project: str) -> None:
        assert 0 <= keys.bucket(project) < keys.BUCKETS

    @pytest.mark.parametrize("key", ["", "a:b", "x" * 10_000, "schlüssel"])
    def test_any_idempotency_key_gives_a_name_of_bounded_length(self, key: str) -> None:
        assert len(keys.idempotency_key("demo", key)) < 120

    @given(PROJECT_IDS, PROJECT_IDS)
    def test_users_are_found_by_the_names_of_their_records(self, project: str, user: str) -> None:
        assert keys.split_user_key(keys.user_key(project, user)) == (project, user)
        matching = [name for name in names_of(project) if fnmatchcase(name, keys.user_key_pattern())]
        assert matching == [keys.user_key(project, "u1")]

    def test_listeners_have_probe_channels_of_their_own(self) -> None:
        assert keys.probe_channel("a", 0) != keys.probe_channel("b", 0)

    def test_probe_takes_the_way_of_its_bucket(self) -> None:
        assert keys.probe_channel("a", 17).startswith("{b17}:")

    def test_workers_of_each_kind_are_called_on_a_channel_of_their_own(self) -> None:
        assert keys.calls_channel("webhooks") != keys.calls_channel("functions")
