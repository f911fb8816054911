"""The Tokens service: secrets that open single files, for those who have no account. It is for servers."""

from workers.api.tokens import tokens

router = tokens.router
"""Every route of the service."""
