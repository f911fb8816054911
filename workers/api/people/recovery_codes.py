"""Recovery codes: how somebody shows a second factor who has lost every other one.

They are shown once, when they are made; only their hashes are kept, and each is good once.
"""

import secrets

from realtime.identity.secrets import hash_secret

COUNT = 6
"""How many are made at a time."""

_BYTES = 5


def make_codes() -> tuple[list[str], list[str]]:
    """Return new codes of ten hexadecimal digits, and the hashes that ``users.mfa_recovery_codes`` keeps."""
    codes = [secrets.token_hex(_BYTES) for _ in range(COUNT)]
    return codes, [hash_secret(code) for code in codes]
