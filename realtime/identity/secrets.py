"""Secrets of sessions and keys: how they travel, how they are stored, and how the two are compared.

The module is pure and draws no random numbers. Sources: wire specification 2.4 (the session value), 10.1
(hashes) and 10.3.
"""

import base64
import hashlib
import hmac

import msgspec

_HASHES = {128: hashlib.sha3_512, 64: hashlib.sha256}
"""Hash function by length of the stored hex text: current servers, and those before 1.8."""


def encode_session(user_id: str, secret: str) -> str:
    """Return the session value: what cookies, headers and the ``authentication`` message carry.

    It is the base64 form of ``{"id":"<user ID>","secret":"<secret>"}``.
    """
    return base64.b64encode(msgspec.json.encode({"id": user_id, "secret": secret})).decode()


def decode_session(value: str) -> tuple[str, str] | None:
    """Return the user ID and secret in a session value.

    Either may be empty (a value that names only one of them is still a value, and hides the next source in
    the order of wire specification 2.4).

    Args:
        value: as sent, after percent-decoding if it came in a cookie.

    Returns:
        None when ``value`` is not strict base64 of a JSON object, or yields neither.
    """
    try:
        fields = msgspec.json.decode(base64.b64decode(value, validate=True))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    user_id, secret = (
        text if isinstance(text, str) else "" for text in (fields.get("id"), fields.get("secret"))
    )
    return (user_id, secret) if user_id or secret else None


def hash_secret(secret: str) -> str:
    """Return the form in which a secret is stored: lower-case hex of its SHA3-512, 128 characters.

    Without salt, since the secrets are long and random; so a key is found by the hash of what was presented.
    """
    return hashlib.sha3_512(_encode(secret)).hexdigest()


def verify_secret(secret: str, stored_hash: str) -> bool:
    """Tell whether ``secret`` has the stored hash, in time that does not depend on where they differ.

    The hash function follows from the length of ``stored_hash``: SHA3-512 (128 characters) or SHA-256 (64).
    An empty secret, and a hash of another length, never match.
    """
    function = _HASHES.get(len(stored_hash))
    if not secret or function is None:
        return False
    return hmac.compare_digest(function(_encode(secret)).hexdigest().encode(), _encode(stored_hash))


def _encode(text: str) -> bytes:
    # Headers may bring in half a surrogate pair; such a secret is wrong, not an error.
    return text.encode("utf-8", "surrogatepass")
