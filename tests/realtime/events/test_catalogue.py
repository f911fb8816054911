import pytest

from realtime.events.catalogue import ACTIONS, CATALOGUE, SYNONYMS, channel_templates, narrow, walk

ORIGINAL = {
    "users": "create delete update update.email update.name update.password update.status update.prefs "
    "update.phone update.mfa update.labels update.verification update.impersonator",
    "users.sessions": "create delete",
    "users.recovery": "create update",
    "users.verification": "create update",
    "users.targets": "create update delete",
    "users.tokens": "create",
    "databases": "create update delete",
    "databases.collections": "create update delete",
    "databases.collections.documents": "create update upsert delete",
    "databases.collections.indexes": "create update delete",
    "databases.collections.attributes": "create update delete",
    "databases.tables": "create update delete",
    "databases.tables.rows": "create update upsert delete",
    "databases.tables.indexes": "create update delete",
    "databases.tables.columns": "create update delete",
    "tablesdb": "create update delete",
    "tablesdb.tables": "create update delete",
    "tablesdb.tables.rows": "create update upsert delete",
    "tablesdb.tables.indexes": "create update delete",
    "tablesdb.tables.columns": "create update delete",
    "documentsdb": "create update delete",
    "documentsdb.collections": "create update delete",
    "documentsdb.collections.documents": "create update upsert delete",
    "documentsdb.collections.indexes": "create update delete",
    "documentsdb.collections.attributes": "create update delete",
    "vectorsdb": "create update delete",
    "vectorsdb.collections": "create update delete",
    "vectorsdb.collections.documents": "create update upsert delete",
    "vectorsdb.collections.indexes": "create update delete",
    "vectorsdb.collections.attributes": "create update delete",
    "buckets": "create update delete",
    "buckets.files": "create update delete",
    "teams": "create delete update update.prefs",
    "teams.memberships": "create delete update update.status",
    "sites": "create update delete",
    "sites.deployments": "create update delete",
    "functions": "create update delete",
    "functions.deployments": "create update delete",
    "functions.executions": "create update delete",
    "messages": "create update",
    "topics": "create update delete",
    "topics.subscribers": "create delete",
    "providers": "create update delete",
    "schedules": "create",
    "rules": "create update delete",
    "reports": "create update delete",
    "reports.insights": "create update delete",
}
FIRED_TOO = {
    "presences": "update upsert delete",
    "projects": "ping",
    "migrations": "create update delete",
    "keys": "create update delete",
    "platforms": "create update delete",
    "webhooks": "create update delete",
    "functions.variables": "create update delete",
}


class TestCatalogue:
    @pytest.mark.parametrize(("words", "actions"), [*ORIGINAL.items(), *FIRED_TOO.items()])
    def test_every_event_of_the_specification_is_in_it(self, words: str, actions: str) -> None:
        """Wire specification 7.5, row by row."""
        resources = {".".join(resource.word for resource in path): path[-1] for path in walk()}
        known = resources[words].actions
        for action in actions.split():
            name, _, attribute = action.partition(".")
            assert name in known
            assert not attribute or attribute in known[name]

    def test_placeholders_of_channels_are_parameters(self) -> None:
        """Of the resource itself, in either vocabulary; the project's ID is known without."""
        for path in walk():
            params = {resource.param for resource in path} | {"projectId"}
            params |= {SYNONYMS[param] for param in params if param in SYNONYMS}
            for channel in path[-1].delivery.channels:
                assert {part[1:-1] for part in channel.split(".") if part.startswith("[")} <= params

    def test_params_of_a_path_differ(self) -> None:
        for path in walk():
            assert len({resource.param for resource in path}) == len(path) <= 3

    def test_words_at_the_top_are_their_keys(self) -> None:
        assert all(word == resource.word for word, resource in CATALOGUE.items())


class TestNarrow:
    @pytest.mark.parametrize(
        "channel", ["rows", "teams.[teamId]", "functions.[functionId]", "account.[userId]"]
    )
    def test_listed_word_at_the_end_or_before_is_narrowed(self, channel: str) -> None:
        assert narrow((channel,), "create") == (f"{channel}.create",)

    @pytest.mark.parametrize(
        "channel", ["console", "projects.[projectId]", "reports", "reports.[reportId].insights"]
    )
    def test_other_channel_is_not(self, channel: str) -> None:
        assert narrow((channel,), "create") == ()


class TestChannelTemplates:
    def test_each_comes_once(self) -> None:
        templates = channel_templates()
        assert len(templates) == len(set(templates))

    def test_suffixed_forms_follow_their_channel(self) -> None:
        templates = channel_templates()
        at = templates.index("teams.[teamId]")
        assert templates[at + 1 : at + 5] == [f"teams.[teamId].{action}" for action in ACTIONS]
