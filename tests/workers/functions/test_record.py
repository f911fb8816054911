"""What an execution's record says once it has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.functions.executor import Failure, Outcome
from workers.functions.record import MAX_OUTPUT_CHARS, all_headers, body_text, ended, tail
from workers.store.texts import storable


class TestEnded:
    @pytest.mark.parametrize(
        ("code", "status"),
        [
            (200, "completed"),
            (302, "completed"),
            (404, "completed"),
            (499, "completed"),
            (500, "failed"),
            (503, "failed"),
        ],
    )
    def test_status_follows_from_the_code_of_the_response(self, code: int, status: str) -> None:
        columns = ended(Outcome(code), logging=True)
        assert (columns["status"], columns["response_status"]) == (status, code)

    @pytest.mark.parametrize("code", [-5, 0, 7, 99, 600, 99999, 10**12])
    @pytest.mark.parametrize("logging", [True, False])
    def test_code_that_is_none_is_a_failure_that_says_so(self, code: int, logging: bool) -> None:
        columns = ended(Outcome(code, errors="own\n"), logging=logging)
        assert (columns["status"], columns["response_status"]) == ("failed", 500)
        own, reason = columns["errors"].split("\n")
        assert own == "own"
        assert f"status code {code}, which is none" in reason
        assert ended(Outcome(code), logging=logging)["errors"] == reason

    def test_failure_of_code_zero_stays_zero(self) -> None:
        columns = ended(Outcome(0, errors="why", failure=Failure.NO_DEPLOYMENT), logging=False)
        assert (columns["status"], columns["response_status"], columns["errors"]) == ("failed", 0, "why")

    def test_only_two_headers_are_kept_of_the_response(self) -> None:
        columns = ended(Outcome(200, {"Content-Type": "a", "Set-Cookie": "b"}), logging=True)
        assert columns["response_headers"] == [{"name": "content-type", "value": "a"}]

    def test_nothing_waits_any_more(self) -> None:
        columns = ended(Outcome(200, duration_s=-1.0), logging=True)
        assert (columns["due_at"], columns["sealed_request"], columns["duration_s"]) == (None, "", 0.0)

    def test_without_logging_only_the_reason_of_a_failure_is_kept(self) -> None:
        said = ended(Outcome(500, logs="l", errors="e"), logging=False)
        assert (said["logs"], said["errors"]) == ("", "")
        failed = ended(Outcome(500, logs="l", errors="e", failure=Failure.TIMEOUT), logging=False)
        assert (failed["logs"], failed["errors"]) == ("", "e")
        logged = ended(Outcome(500, logs="l", errors="e"), logging=True)
        assert (logged["logs"], logged["errors"]) == ("l", "e")


class TestTail:
    @given(st.text(max_size=40), st.integers(1, 20))
    def test_end_of_a_text_is_kept_with_a_warning_if_it_is_cut(self, text: str, limit: int) -> None:
        kept = tail(text, limit)
        if len(text) <= limit:
            assert kept == storable(text)
        elif "\0" not in text:
            assert kept.startswith("[WARNING]")
            assert kept.endswith(storable(text[-limit:]))

    def test_length_is_bounded(self) -> None:
        assert len(tail("x" * 1_000_000)) < MAX_OUTPUT_CHARS + 100


class TestResponse:
    def test_caller_sees_all_headers_and_the_body_as_text(self) -> None:
        outcome = Outcome(200, {"Set-Cookie": "b", "X": "y\0"}, b"ok \xff")
        assert all_headers(outcome) == [{"name": "Set-Cookie", "value": "b"}, {"name": "X", "value": "y"}]
        assert body_text(outcome) == "ok \ufffd"
