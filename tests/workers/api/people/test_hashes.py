"""The forms of passwords, against the vectors of those who defined them and against the libraries that make them."""

import base64
import hashlib
from typing import Any

import argon2
import bcrypt
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.api.people import hashes

FIREBASE = {
    "salt": "42xEC+ixf3L2lw==",
    "saltSeparator": "Bw==",
    "signerKey": "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
}
SCRYPT = {"salt": "NaCl", "costCpu": 1024, "costMemory": 8, "costParallel": 16, "length": 64}

# Of RFC 7914, phpass, Firebase, crypt_blowfish, RFC 1321 and FIPS 180/202: password, algorithm, form, options.
VECTORS: list[tuple[str, str, str, dict[str, Any]]] = [
    (
        "password",
        "scrypt",
        (
            "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
            "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
        ),
        SCRYPT,
    ),
    ("test12345", "phpass", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", {}),
    ("test12345", "phpass", "$H$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", {}),
    ("U*U", "phpass", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}),
    ("U*U", "bcrypt", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}),
    ("U*U", "bcrypt", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}),
    (
        "user1password",
        "scryptMod",
        "lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==",
        FIREBASE,
    ),
    ("message digest", "md5", "F96B697D7CB7938D525A2F31AAF161D0", {}),
    ("abc", "sha", "a9993e364706816aba3e25717850c26c9cd0d89d", {"version": "sha1"}),
    ("abc", "sha", "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa", {"version": "sha512/224"}),
    (
        "abc",
        "sha",
        "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        {"version": "sha3-256"},
    ),
]

# A form that is wrong, or would cost too much to verify, and a word of the reason.
REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("argon2", "$argon2id$v=19$m=65536", {}, "argon2"),
    ("argon2", "$argon2id$v=19$m=262145,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", {}, "KiB"),
    ("argon2", "$argon2id$v=19$m=65536,t=17,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", {}, "KiB"),
    ("argon2", "$argon2id$v=19$m=65536,t=2,p=17$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", {}, "KiB"),
    ("bcrypt", "$2a$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}, "15"),
    ("bcrypt", "$2a$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}, "bcrypt"),
    ("bcrypt", "$2a$05$CCCC", {}, "bcrypt"),
    ("md5", "5f4dcc3b5aa765d61d8327deb882cf9", {}, "32"),
    ("md5", "5f4dcc3b5aa765d61d8327deb882cf9g", {}, "32"),
    ("sha", "a9993e364706816aba3e25717850c26c9cd0d89d", {"version": "sha256"}, "64"),
    ("phpass", "$P$FIQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", {}, "2^16"),
    ("phpass", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L", {}, "phpass"),
    ("phpass", "$2a$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", {}, "15"),
    ("scrypt", "00" * 64, SCRYPT | {"costCpu": 1000}, "power of two"),
    ("scrypt", "00" * 64, SCRYPT | {"costCpu": 65536, "costMemory": 9}, "memory"),
    ("scrypt", "00" * 63, SCRYPT, "128"),
    ("scryptMod", "ü", FIREBASE, "base64"),
    ("scryptMod", "AAAA", FIREBASE | {"salt": "?"}, "base64"),
]  # fmt: skip


class TestVerify:
    @pytest.mark.parametrize(("password", "algorithm", "stored", "options"), VECTORS)
    def test_vector_matches_its_password_and_no_other(
        self, password: str, algorithm: str, stored: str, options: dict[str, Any]
    ) -> None:
        hashes.check(algorithm, stored, options)

        assert hashes.verify(password, algorithm, stored, options)
        assert not hashes.verify(password + " ", algorithm, stored, options)
        assert not hashes.verify("", algorithm, stored, options)

    def test_unknown_algorithm_matches_nothing(self) -> None:
        assert not hashes.verify("password", "rot13", "cnffjbeq", {})

    @pytest.mark.parametrize("algorithm", ["argon2", "bcrypt"])
    @pytest.mark.parametrize(
        "stored", ["damaged", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$ü", "$2b$05$ü"]
    )
    def test_damaged_form_matches_nothing(self, algorithm: str, stored: str) -> None:
        assert not hashes.verify("password", algorithm, stored, {})

    @given(st.text(min_size=1, max_size=100))
    @settings(max_examples=20, deadline=None)
    def test_bcrypt_sees_72_bytes_as_everywhere(self, password: str) -> None:
        stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()

        assert hashes.verify(password, "bcrypt", stored, {})

    @given(st.text(max_size=40), st.binary(max_size=16), st.binary(min_size=1, max_size=64))
    @settings(max_examples=3, deadline=None)
    def test_firebase_parameters_may_lack_their_padding(
        self, password: str, salt: bytes, signer: bytes
    ) -> None:
        derived = hashlib.scrypt(
            password.encode(), salt=salt + b"|", n=16_384, r=8, p=1, maxmem=2**26, dklen=64
        )
        encryptor = Cipher(algorithms.AES256(derived[:32]), modes.CTR(bytes(16))).encryptor()
        stored, *parameters = (
            base64.b64encode(value).decode().rstrip("=")
            for value in (encryptor.update(signer) + encryptor.finalize(), salt, b"|", signer)
        )
        options = dict(zip(("salt", "saltSeparator", "signerKey"), parameters, strict=True))

        assert hashes.verify(password, "scryptMod", stored, options)


class TestCheck:
    @pytest.mark.parametrize(("algorithm", "stored", "options", "reason"), REFUSED)
    def test_what_is_wrong_or_costs_too_much_is_refused(
        self, algorithm: str, stored: str, options: dict[str, Any], reason: str
    ) -> None:
        with pytest.raises(ValueError, match="Value must be") as refused:
            hashes.check(algorithm, stored, options)

        assert reason in str(refused.value)
        assert stored not in str(refused.value)

    @pytest.mark.parametrize("version", hashes.SHA_VERSIONS)
    def test_every_sha_function_is_there(self, version: str) -> None:
        digest = hashlib.new(hashes.SHA_VERSIONS[version], b"password").hexdigest()

        hashes.check("sha", digest, {"version": version})
        assert hashes.verify("password", "sha", digest, {"version": version})


class TestNeedsRehash:
    def test_own_form_stays_and_every_other_goes(self) -> None:
        assert not hashes.needs_rehash("argon2", hashes.ARGON2.hash("password"))
        weaker = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("password")
        assert hashes.needs_rehash("argon2", weaker)
        assert hashes.needs_rehash("md5", "5f4dcc3b5aa765d61d8327deb882cf99")

    def test_options_of_argon2_are_those_of_the_form(self) -> None:
        own = hashes.ARGON2.hash("password")

        assert hashes.argon2_options(own) == dict(hashes.ARGON2_OPTIONS)
