"""Signatures by which whoever is sent a request knows that this server sent it, and nobody changed it. Pure.

Two kinds, side by side: the one of Appwrite, and that of `Standard Webhooks <https://www.standardwebhooks.com>`_, which
ready-made libraries verify. Source: wire specification 11.3.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

SECRET_PREFIX = "whsec_"  # noqa: S105 - what secrets begin with
"""What marks a secret whose key is written in Base64, as services and libraries of Standard Webhooks write it."""


def standard_key(secret: str) -> bytes:
    """Return the key that ``secret`` stands for in signatures of Standard Webhooks.

    After ``whsec_`` it is Base64, with or without ``=`` at the end, as the libraries read it. Any other secret is the
    key itself, in UTF-8; so is one whose rest is no Base64.
    """
    encoded = secret.removeprefix(SECRET_PREFIX)
    if encoded != secret:
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if key:
            return key
    return secret.encode()


def standard_signature(secrets: Iterable[str], message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of the header ``webhook-signature``.

    Args:
        secrets: those that sign; several while one is replaced, newest first.
        message_id: the header ``webhook-id``, without a dot.
        timestamp: the header ``webhook-timestamp``, in Unix seconds.
        body: of the request, byte for byte.
    """
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join("v1," + _in_base64(standard_key(secret), signed, "sha256") for secret in secrets)


def appwrite_signature(secret: str, url: str, body: bytes) -> str:
    """Return the value of the header ``X-Appwrite-Webhook-Signature``.

    Args:
        secret: the newest; there is room for one signature only.
        url: of the webhook, as it was given.
        body: of the request, byte for byte.
    """
    return _in_base64(secret.encode(), url.encode() + body, "sha1")


def _in_base64(key: bytes, message: bytes, algorithm: str) -> str:
    return base64.b64encode(hmac.digest(key, message, getattr(hashlib, algorithm))).decode()
