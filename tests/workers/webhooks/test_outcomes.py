"""Tests of what an attempt makes of a delivery and its webhook."""

import pytest

from workers.webhooks.outcomes import Outcome, Verdict, describe, failure_text, judge
from workers.webhooks.sending import AttemptResult

_SCHEDULE = (5.0, 30.0)


def _judge(failures: int = 0, **result: object) -> Outcome:
    return judge(AttemptResult(0.0, 0.1, **result), failures, _SCHEDULE, 0.5)  # type: ignore[arg-type]


class TestJudge:
    @pytest.mark.parametrize("status", [200, 201, 204, 299])
    def test_2xx_is_delivered(self, status: int) -> None:
        assert _judge(status=status) == Outcome("delivered", Verdict.WORKS)

    @pytest.mark.parametrize("status", [100, 199, 300, 301, 304, 400, 404, 429, 500, 503])
    def test_any_other_status_is_tried_again(self, status: int) -> None:
        assert _judge(status=status) == Outcome("pending", Verdict.FAILS, 5.0)

    def test_no_response_is_tried_again(self) -> None:
        assert _judge(error="Refused.") == Outcome("pending", Verdict.FAILS, 5.0)

    def test_an_error_after_2xx_is_a_failure(self) -> None:
        assert _judge(status=200, error="Timed out.").status == "pending"

    def test_failures_before_it_count(self) -> None:
        assert _judge(1, status=500) == Outcome("pending", Verdict.FAILS, 30.0)
        assert _judge(2, status=500) == Outcome("dead", Verdict.FAILS)

    def test_410_is_a_dead_letter_at_once(self) -> None:
        assert _judge(status=410) == Outcome("dead", Verdict.GONE)

    def test_a_refused_target_is_a_dead_letter_that_says_nothing_of_the_endpoint(self) -> None:
        assert _judge(error="Webhook target x rejected", refused=True) == Outcome("dead", Verdict.UNKNOWN)

    def test_a_secret_that_cannot_be_decrypted_is_no_failure_of_the_endpoint(self) -> None:
        assert _judge(error="No key.", unsigned=True) == Outcome("pending", Verdict.UNKNOWN, 5.0)
        assert _judge(2, error="No key.", unsigned=True) == Outcome("dead", Verdict.UNKNOWN)

    def test_retry_after_is_heeded(self) -> None:
        assert _judge(status=429, retry_after_s=3600.0).delay_s == 3600.0


class TestDescribe:
    def test_success_says_nothing(self) -> None:
        assert describe(AttemptResult(0, 0, status=204)) == ""

    def test_failure_says_what_the_endpoint_answered_or_what_else_went_wrong(self) -> None:
        assert describe(AttemptResult(0, 0, status=503)) == "The endpoint answered 503."
        assert describe(AttemptResult(0, 0, status=200, error="Too slow.")) == "Too slow."


class TestFailureText:
    def test_without_a_response_it_names_the_error_and_the_events(self) -> None:
        text = failure_text("https://a.example/", ["b.c", "b"], AttemptResult(0, 0, error="Timed out."))
        assert text == ("URL: https://a.example/\nMethod: POST\nClient Error: Timed out.\nEvents: b.c, b\n")

    def test_with_a_response_it_shows_the_beginning_of_the_body(self) -> None:
        text = failure_text("u", ["b"], AttemptResult(0, 0, status=500, response="é" * 20_000))
        assert text == f"URL: u\nMethod: POST\nStatus code: 500\nBody: \n{'é' * 10_000}\n"
