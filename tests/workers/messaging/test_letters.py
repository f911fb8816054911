"""Letters: what stands in them, and that nothing else can be put there."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.messaging.kinds import check_one_line
from workers.messaging.letters import Sender, may_be_copied, write_letter

SEPARATORS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""What ends lines."""

NO_ADDRESSES = (
    "", "@", "bob", "bob@", "a@x..co", "a@[x", "bob@example.com\r\nBcc: eve@example.com", "a@b, c@d", "bøb@example.com",
)  # fmt: skip

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SENDER = Sender("ann@example.com", "Ann")


def write(content: dict[str, Any] | None = None, **values: Any) -> EmailMessage:
    """Return a letter as whoever receives it reads it."""
    arguments: dict[str, Any] = {
        "sender": SENDER,
        "to": "bob@example.com",
        "cc": [],
        "message_id": "<1@example.com>",
        "sent_at": NOW,
    }
    letter = write_letter({"subject": "News", "content": "Text"} | (content or {}), **arguments | values)
    return email.message_from_bytes(letter.as_bytes(), policy=email.policy.default)


def text_of(letter: EmailMessage) -> str:
    """Return the content without the end of its last line."""
    text: str = letter.get_content()
    return text.replace("\r\n", "\n").removesuffix("\n")


class TestSender:
    def test_text_has_a_name_and_an_address(self) -> None:
        assert Sender.from_text("Ann B. <ann@example.com>") == Sender("ann@example.com", "Ann B.")

    def test_text_without_an_address_is_refused(self) -> None:
        with pytest.raises(ValueError, match="REALTIME_MAIL_FROM"):
            Sender.from_text("Ann")

    def test_domain_is_what_follows_the_at(self) -> None:
        assert SENDER.domain == "example.com"


class TestWriteLetter:
    def test_headers_say_what_they_are_told(self) -> None:
        letter = write()
        assert dict(letter.items()) == {
            "From": "Ann <ann@example.com>",
            "To": "bob@example.com",
            "Subject": "News",
            "Date": "Fri, 02 Jan 2026 03:04:05 +0000",
            "Message-ID": "<1@example.com>",
            "Auto-Submitted": "auto-generated",
            "Content-Type": 'text/plain; charset="utf-8"',
            "Content-Transfer-Encoding": "7bit",
            "MIME-Version": "1.0",
        }
        assert text_of(letter) == "Text"

    def test_answers_go_where_the_sender_says(self) -> None:
        sender = Sender(
            "ann@example.com", reply_to_address="eve@example.com", reply_to_name="Eve", mailer="X"
        )
        letter = write(sender=sender)
        assert (letter["Reply-To"], letter["X-Mailer"]) == ("Eve <eve@example.com>", "X")

    def test_copies_stand_in_cc(self) -> None:
        letter = write(to=None, cc=["cat@example.com", "dan@example.com"])
        assert letter["To"] == "undisclosed-recipients:;"
        assert letter["Cc"] == "cat@example.com, dan@example.com"

    def test_html_is_said_to_be_html(self) -> None:
        letter = write({"content": "<p>Hé</p>", "html": True})
        assert (letter.get_content_type(), text_of(letter)) == ("text/html", "<p>Hé</p>")

    @pytest.mark.parametrize("address", NO_ADDRESSES)
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match=r"\S"):
            write(to=address)

    def test_subject_with_a_line_break_is_refused(self) -> None:
        with pytest.raises(ValueError, match="linefeed"):
            write({"subject": "a\r\nBcc: eve@example.com"})

    @given(st.text(st.characters(codec="utf-8") | st.sampled_from(SEPARATORS), min_size=1, max_size=300))
    def test_any_subject_that_is_taken_can_be_written(self, subject: str) -> None:
        try:
            check_one_line(subject)
        except ValueError:
            assert subject.splitlines() != [subject] or any(category(char) == "Cc" for char in subject)
        else:
            write({"subject": subject})

    @given(
        st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=300)
    )
    def test_any_subject_arrives_in_one_header(self, subject: str) -> None:
        letter = write({"subject": subject})
        assert letter["Bcc"] is None
        assert len(letter.items()) == 9
        assert letter["Subject"].split() == subject.split()

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["C"]), max_size=3000))
    def test_any_content_arrives_as_it_was_written(self, content: str) -> None:
        assert text_of(write({"content": content})) == content


class TestMayBeCopied:
    @pytest.mark.parametrize(
        "address", ["bob@example.com", '"b o b"@example.com', "bob+news@xn--exmple-cua.com"]
    )
    def test_address_can_stand_in_letters_to_others(self, address: str) -> None:
        assert may_be_copied(address)
        assert write(cc=[address])["Cc"] == address

    @pytest.mark.parametrize("address", [*NO_ADDRESSES, "bob@exämple.com", "a@x\x85.co"])
    def test_what_not_every_mail_server_takes_cannot(self, address: str) -> None:
        assert not may_be_copied(address)
