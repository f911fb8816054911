import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from workers.cli import app
from workers.cli.output import CommandError
from workers.cli.publish import choose_name, parse_params, parse_payload, summarize

NAME = "databases.main.tables.posts.rows.1.create"


class Api(http.server.BaseHTTPRequestHandler):
    """Answers every request in the same way, and remembers the last one."""

    status = 202
    answer: ClassVar[bytes] = b""
    received: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        Api.received = {"path": self.path, "headers": dict(self.headers.items()), "body": json.loads(body)}
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    published = {"id": "7-0", "events": [NAME], "channels": list("abcdef"), "roles": ["any"]}
    monkeypatch.setattr(Api, "answer", json.dumps({"total": 1, "events": [published]}).encode())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


class TestPublish:
    def test_help_shows_how_a_pattern_is_written(self) -> None:
        """Square brackets are markup to what prints the help."""
        assert "users.[userId].create" in CliRunner().invoke(app, ["publish", "--help"]).output

    def test_every_option_is_in_the_request(self, endpoint: str) -> None:
        result = CliRunner().invoke(
            app,
            [
                *("publish", "users.[userId].create", '{"name": "Ada"}', "--param", "userId=ada"),
                *("--permission", 'read("users")', "--role", "any", "--role", "team:x", "--user", "bob"),
                *(
                    "--database-type",
                    "tablesdb",
                    "--project",
                    "shop",
                    "--key",
                    "k",
                    "--endpoint",
                    endpoint + "/",
                ),
            ],
        )
        assert result.exit_code == 0, result.output
        assert Api.received["path"] == "/v1/events"
        assert Api.received["headers"]["X-Appwrite-Project"] == "shop"
        assert Api.received["headers"]["X-Appwrite-Key"] == "k"
        assert Api.received["headers"]["Idempotency-Key"]
        assert Api.received["body"] == {
            "event": "users.[userId].create",
            "payload": {"name": "Ada"},
            "params": {"userId": "ada"},
            "permissions": ['read("users")'],
            "roles": ["any", "team:x"],
            "userId": "bob",
            "databaseType": "tablesdb",
        }

    def test_what_is_left_out_stays_out(self, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REALTIME_DEV_KEY", "the-key")
        result = CliRunner().invoke(app, ["publish", NAME, "--endpoint", endpoint])
        assert result.exit_code == 0, result.output
        assert Api.received["body"] == {"event": NAME, "payload": {}}
        assert Api.received["headers"]["X-Appwrite-Key"] == "the-key"
        assert Api.received["headers"]["X-Appwrite-Project"] == "demo"

    def test_dash_reads_standard_input(self, endpoint: str) -> None:
        arguments = ["publish", NAME, "-", "--key", "k", "--endpoint", endpoint]
        assert CliRunner().invoke(app, arguments, input='{"n": 1}\n').exit_code == 0
        assert Api.received["body"]["payload"] == {"n": 1}

    def test_answer_is_summed_up(self, endpoint: str) -> None:
        output = CliRunner().invoke(app, ["publish", NAME, "--key", "k", "--endpoint", endpoint]).stdout
        assert output.splitlines() == [
            f"published {NAME}  id 7-0",
            "  channels  a, b, c, d and 2 more (--json)",
            "  readers   any",
        ]

    def test_event_without_channels_has_nobody_to_give_it_to(
        self, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "databases.main.create"
        published = {"id": "7-0", "events": [name], "channels": [], "roles": []}
        monkeypatch.setattr(Api, "answer", json.dumps({"total": 1, "events": [published]}).encode())
        output = CliRunner().invoke(app, ["publish", name, "--key", "k", "--endpoint", endpoint]).stdout
        assert output.splitlines() == [
            f"published {name}  id 7-0",
            "  channels  none: no client can subscribe to it; it is for webhooks and functions",
        ]

    def test_json_is_the_answer_itself(self, endpoint: str) -> None:
        arguments = ["publish", NAME, "--key", "k", "--endpoint", endpoint, "--json"]
        assert json.loads(CliRunner().invoke(app, arguments).stdout)["events"][0]["id"] == "7-0"

    def test_proxy_of_the_environment_is_not_asked_for_this_machine(
        self, endpoint: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:1")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        result = CliRunner().invoke(app, ["publish", NAME, "--key", "k", "--endpoint", endpoint])
        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize(
        ("status", "answer", "text"),
        [
            (401, b'{"message": "no scope"}', "Not published: no scope (HTTP 401)"),
            (502, b"<html>", "Not published: Bad Gateway (HTTP 502)"),
            (200, b'"a page"', "Not published: OK (HTTP 200)"),
            (202, b"{}", "Not published: Accepted (HTTP 202)"),
        ],
    )
    def test_refusal_is_told_with_its_reason(
        self, endpoint: str, monkeypatch: pytest.MonkeyPatch, status: int, answer: bytes, text: str
    ) -> None:
        monkeypatch.setattr(Api, "status", status)
        monkeypatch.setattr(Api, "answer", answer)
        result = CliRunner().invoke(app, ["publish", NAME, "--key", "k", "--endpoint", endpoint])
        assert result.exit_code == 1
        assert text in result.stderr
        assert result.stdout == ""

    def test_nobody_there_says_what_to_start(self) -> None:
        result = CliRunner().invoke(
            app, ["publish", NAME, "--key", "k", "--endpoint", "http://127.0.0.1:1/v1"]
        )
        assert result.exit_code == 1
        assert "realtime dev" in result.stderr

    @pytest.mark.parametrize("command", [["publish", NAME], ["tail"]])
    def test_no_key_says_where_one_is_looked_for_and_what_to_do(
        self, command: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("REALTIME_DATA_DIR", ".data")
        monkeypatch.chdir(tmp_path)
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        assert f"there is no file {tmp_path.resolve()}/.data/dev-key." in result.stderr
        for remedy in ("realtime dev", "folder that it was started in", "REALTIME_DATA_DIR", "--key"):
            assert remedy in result.stderr


class TestChooseName:
    EVENTS = ("users.ada.update", "users.*.update", "users.ada.update.name", "users.*.update.name")

    def test_name_that_was_asked_for_is_chosen_wherever_it_stands(self) -> None:
        assert choose_name("users.ada.update.name", {}, self.EVENTS) == "users.ada.update.name"

    def test_placeholders_are_filled(self) -> None:
        params = {"userId": "ada"}
        assert choose_name("users.[userId].update.name", params, self.EVENTS) == "users.ada.update.name"

    def test_name_in_the_words_of_another_database_stands_first(self) -> None:
        events = ["documentsdb.d.create", "documentsdb.*.create"]
        assert choose_name("databases.d.create", {}, events) == "documentsdb.d.create"


class TestParsePayload:
    @pytest.mark.parametrize("text", ["", "{", "[]", "null", "5"])
    def test_anything_but_an_object_is_refused(self, text: str) -> None:
        with pytest.raises(CommandError, match="payload"):
            parse_payload(text)


class TestParseParams:
    def test_value_may_hold_the_separator(self) -> None:
        assert parse_params(["a=b=c", "d="]) == {"a": "b=c", "d": ""}

    @pytest.mark.parametrize("text", ["a", "=b", ""])
    def test_other_form_is_refused(self, text: str) -> None:
        with pytest.raises(CommandError, match="NAME=VALUE"):
            parse_params([text])


class TestSummarize:
    def test_few_names_are_all_there(self) -> None:
        assert summarize(["a", "b"]) == "a, b"
        assert summarize([]) == ""
