"""The forms in which passwords are stored: argon2 for our own, and those that other systems bring along.

A form is an algorithm, a text and options, as the ``password_*`` columns of ``users`` have them. Pure, and slow by
intent: :mod:`workers.api.people.passwords` keeps it off the event loop. The primitives are those of ``hashlib``,
``argon2-cffi``, ``bcrypt`` and ``cryptography``. Sources: the hash parameters of the API reference; the portable
hashes of https://www.openwall.com/phpass/; https://github.com/firebase/scrypt.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any

import argon2
import bcrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

OWN = "argon2"
"""The algorithm of our own."""

ARGON2 = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""How our own are made: OWASP's least parameters for argon2id (19 MiB, two passes), so that a flood of logins costs
little memory."""

ARGON2_OPTIONS: Mapping[str, Any] = {
    "memoryCost": ARGON2.memory_cost,
    "timeCost": ARGON2.time_cost,
    "threads": ARGON2.parallelism,
}
"""The options of our own, as the user model shows them."""

# What an imported hash may cost, so that no import makes every login of one user stall those of others.
_MAX_ARGON2_MEMORY_KIB = 262_144
_MAX_ARGON2_TIME = 16
_MAX_ARGON2_THREADS = 16
_MAX_BCRYPT_COST = 15
_MAX_PHPASS_LOG2 = 16
_MAX_SCRYPT_BYTES = 67_108_864
_MAX_SCRYPT_PARALLEL = 16

_BCRYPT = re.compile(r"\$2[abxy]?\$(\d\d)\$[./A-Za-z0-9]{53}")
_PHPASS = re.compile(r"\$[PH]\$[./0-9A-Za-z]{31}")
_PHPASS_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")

SHA_VERSIONS: Mapping[str, str] = {
    "sha1": "sha1",
    "sha224": "sha224",
    "sha256": "sha256",
    "sha384": "sha384",
    "sha512/224": "sha512_224",
    "sha512/256": "sha512_256",
    "sha512": "sha512",
    "sha3-224": "sha3_224",
    "sha3-256": "sha3_256",
    "sha3-384": "sha3_384",
    "sha3-512": "sha3_512",
}
"""What the API calls the SHA functions, and what ``hashlib`` does."""


def verify(password: str, algorithm: str, stored: str, options: Mapping[str, Any]) -> bool:
    """Tell whether ``password`` has the stored form. An unknown algorithm matches nothing."""
    verifier = _VERIFIERS.get(algorithm)
    return verifier is not None and verifier(password.encode(), stored, options)


def check(algorithm: str, stored: str, options: Mapping[str, Any]) -> None:
    """Check a form that is imported.

    Raises:
        ValueError: it is not of this form, or verifying it would cost too much. The text says which, without the hash.
    """
    _CHECKS[algorithm](stored, options)


def argon2_options(stored: str) -> dict[str, Any]:
    """Return the options of an argon2 hash that was checked, as the user model shows them."""
    parameters = argon2.extract_parameters(stored)
    return {
        "memoryCost": parameters.memory_cost,
        "timeCost": parameters.time_cost,
        "threads": parameters.parallelism,
    }


def needs_rehash(algorithm: str, stored: str) -> bool:
    """Tell whether the form is another than that of our own, and is to be replaced once the password is known."""
    return algorithm != OWN or ARGON2.check_needs_rehash(stored)


def _verify_argon2(password: bytes, stored: str, _options: Mapping[str, Any]) -> bool:
    try:
        return ARGON2.verify(stored, password)
    except (argon2.exceptions.VerificationError, ValueError):
        return False


def _verify_bcrypt(password: bytes, stored: str, _options: Mapping[str, Any]) -> bool:
    try:
        # The algorithm sees no more of it; the library leaves the cut to its caller.
        return bcrypt.checkpw(password[:72], stored.encode())
    except ValueError:
        return False


def _verify_md5(password: bytes, stored: str, _options: Mapping[str, Any]) -> bool:
    return _same_hex(hashlib.md5(password, usedforsecurity=False).digest(), stored)


def _verify_sha(password: bytes, stored: str, options: Mapping[str, Any]) -> bool:
    return _same_hex(hashlib.new(SHA_VERSIONS[options["version"]], password).digest(), stored)


def _verify_phpass(password: bytes, stored: str, options: Mapping[str, Any]) -> bool:
    # The library makes these too, where it is not told to be portable.
    if stored.startswith("$2"):
        return _verify_bcrypt(password, stored, options)
    digest = hashlib.md5(stored[4:12].encode() + password, usedforsecurity=False).digest()
    for _ in range(1 << _PHPASS_DIGITS.index(stored[3])):
        digest = hashlib.md5(digest + password, usedforsecurity=False).digest()
    return hmac.compare_digest(_encode_phpass(digest), stored[12:])


def _encode_phpass(digest: bytes) -> str:
    """Return the 22 digits of phpass for 16 bytes: six bits a digit, the lowest first."""
    number = int.from_bytes(digest, "little")
    digits = []
    for start in range(0, len(digest), 3):
        group = number >> (8 * start) & 0xFFFFFF
        count = len(digest[start : start + 3]) + 1
        digits += [_PHPASS_DIGITS[group >> (6 * place) & 0x3F] for place in range(count)]
    return "".join(digits)


def _verify_scrypt(password: bytes, stored: str, options: Mapping[str, Any]) -> bool:
    derived = hashlib.scrypt(
        password,
        salt=str(options["salt"]).encode(),
        n=options["costCpu"],
        r=options["costMemory"],
        p=options["costParallel"],
        maxmem=2 * _MAX_SCRYPT_BYTES,
        dklen=options["length"],
    )
    return _same_hex(derived, stored)


def _verify_scrypt_modified(password: bytes, stored: str, options: Mapping[str, Any]) -> bool:
    salt = _decode(options["salt"]) + _decode(options["saltSeparator"])
    derived = hashlib.scrypt(password, salt=salt, n=16_384, r=8, p=1, maxmem=_MAX_SCRYPT_BYTES, dklen=64)
    encryptor = Cipher(algorithms.AES256(derived[:32]), modes.CTR(bytes(16))).encryptor()
    signed = encryptor.update(_decode(options["signerKey"])) + encryptor.finalize()
    return hmac.compare_digest(signed, _decode(stored))


def _check_argon2(stored: str, _options: Mapping[str, Any]) -> None:
    try:
        parameters = argon2.extract_parameters(stored)
    except argon2.exceptions.InvalidHashError as error:
        raise ValueError("Value must be an argon2 hash in its encoded form, `$argon2id$...`") from error
    if (
        parameters.memory_cost > _MAX_ARGON2_MEMORY_KIB
        or parameters.time_cost > _MAX_ARGON2_TIME
        or parameters.parallelism > _MAX_ARGON2_THREADS
    ):
        raise ValueError(
            f"Value must be a hash of at most {_MAX_ARGON2_MEMORY_KIB} KiB, {_MAX_ARGON2_TIME} passes and "
            f"{_MAX_ARGON2_THREADS} threads"
        )


def _check_bcrypt(stored: str, _options: Mapping[str, Any]) -> None:
    matched = _BCRYPT.fullmatch(stored)
    if matched is None or not 4 <= int(matched[1]) <= _MAX_BCRYPT_COST:
        raise ValueError(f"Value must be a bcrypt hash, `$2b$...`, of a cost of at most {_MAX_BCRYPT_COST}")


def _check_md5(stored: str, _options: Mapping[str, Any]) -> None:
    _check_hex(stored, 16)


def _check_sha(stored: str, options: Mapping[str, Any]) -> None:
    _check_hex(stored, hashlib.new(SHA_VERSIONS[options["version"]]).digest_size)


def _check_phpass(stored: str, options: Mapping[str, Any]) -> None:
    if stored.startswith("$2"):
        _check_bcrypt(stored, options)
    elif _PHPASS.fullmatch(stored) is None or not 4 <= _PHPASS_DIGITS.index(stored[3]) <= _MAX_PHPASS_LOG2:
        raise ValueError(f"Value must be a phpass hash, `$P$...`, of at most 2^{_MAX_PHPASS_LOG2} rounds")


def _check_scrypt(stored: str, options: Mapping[str, Any]) -> None:
    cpu, memory, parallel = options["costCpu"], options["costMemory"], options["costParallel"]
    if cpu < 2 or cpu & (cpu - 1):
        raise ValueError("Value must be a hash whose CPU cost is a power of two")
    if parallel > _MAX_SCRYPT_PARALLEL or 128 * memory * (cpu + parallel) > _MAX_SCRYPT_BYTES:
        raise ValueError(
            f"Value must be a hash that takes at most {_MAX_SCRYPT_BYTES} bytes of memory to verify"
        )
    _check_hex(stored, options["length"])


def _check_scrypt_modified(stored: str, options: Mapping[str, Any]) -> None:
    for text in (stored, options["salt"], options["saltSeparator"], options["signerKey"]):
        try:
            _decode(text)
        except ValueError as error:
            raise ValueError("Value must be base64, like its salt, salt separator and signer key") from error


def _check_hex(text: str, size_bytes: int) -> None:
    if _HEX.fullmatch(text) is None or len(text) != 2 * size_bytes:
        raise ValueError(f"Value must be a hash of {2 * size_bytes} hexadecimal digits")


def _same_hex(digest: bytes, stored: str) -> bool:
    return hmac.compare_digest(digest.hex().encode(), stored.lower().encode())


def _decode(text: str) -> bytes:
    # Firebase exports its parameters without padding, too.
    return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)


_VERIFIERS: Mapping[str, Callable[[bytes, str, Mapping[str, Any]], bool]] = {
    OWN: _verify_argon2,
    "bcrypt": _verify_bcrypt,
    "md5": _verify_md5,
    "sha": _verify_sha,
    "phpass": _verify_phpass,
    "scrypt": _verify_scrypt,
    "scryptMod": _verify_scrypt_modified,
}

_CHECKS: Mapping[str, Callable[[str, Mapping[str, Any]], None]] = {
    OWN: _check_argon2,
    "bcrypt": _check_bcrypt,
    "md5": _check_md5,
    "sha": _check_sha,
    "phpass": _check_phpass,
    "scrypt": _check_scrypt,
    "scryptMod": _check_scrypt_modified,
}
