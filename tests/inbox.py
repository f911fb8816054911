"""The mail that the API sends, as tests read it. Take the fixture ``inbox`` of the account's tests."""

import re
from urllib.parse import parse_qsl, urlsplit

from workers.api.mail import Mail, NotSentError


class Inbox:
    """A mailer that keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.is_broken = False

    async def send(self, mail: Mail) -> None:
        if self.is_broken:
            raise NotSentError("the server is gone")
        self.mails.append(mail)

    def link(self) -> str:
        """Return the link in the last mail."""
        found = re.search(r"https?://\S+", self.mails[-1].text)
        assert found is not None
        return found[0]

    def proof(self) -> dict[str, str]:
        """Return what the link in the last mail proves itself with: the user and the secret."""
        query = dict(parse_qsl(urlsplit(self.link()).query))
        return {"userId": query["userId"], "secret": query["secret"]}

    def code(self) -> str:
        """Return the code in the last mail."""
        found = re.search(r"\b\d{6}\b", self.mails[-1].text)
        assert found is not None
        return found[0]
