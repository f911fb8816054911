import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InvalidCredentialError
from realtime.identity.jwt import TokenVerifier, mint

NOW = 1_000_000.0
CLAIMS = {"userId": "u", "sessionId": "s", "exp": NOW + 900}
OWN = {"sub": "u", "exp": NOW + 900}
UNAVAILABLE = "The signing keys could not be fetched."

RSA_KEYS = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def segment(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key: PrivateKey, **members: str) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        entry = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        entry = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        entry = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    entry.pop("key_ops", None)
    return {**entry, **members}


def sign(
    claims: Mapping[str, Any], key: PrivateKey, algorithm: str, key_id: str | None = None, **headers: Any
) -> str:
    if key_id is not None:
        headers["kid"] = key_id
    return jwt.encode(dict(claims), key, algorithm, headers=headers)


async def reason(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(InvalidCredentialError) as caught:
        await verifier.verify(token)
    return str(caught.value)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class KeyServer:
    """A real HTTP server that answers every request with `body`, once it is `released`."""

    def __init__(self) -> None:
        self.requests = 0
        self.status = "200 OK"
        self.body = b""
        self.headers = ""
        self.asked = asyncio.Event()
        self.released = asyncio.Event()
        self.released.set()
        self.url = ""

    def publish(self, *entries: Any) -> None:
        self.body = json.dumps({"keys": entries}).encode()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                self.asked.set()
                await self.released.wait()
                head = f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\n{self.headers}\r\n"
                writer.write(head.encode() + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[KeyServer]:
    keys = KeyServer()
    listener = await asyncio.start_server(keys.handle, "127.0.0.1", 0)
    keys.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/jwks.json"
    yield keys
    keys.released.set()
    listener.close()


@pytest.fixture
def monotonic() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(server: KeyServer, monotonic: Clock) -> AsyncIterator[TokenVerifier]:
    made = TokenVerifier(
        ["shared"], jwks_url=server.url, clock=lambda: NOW, monotonic=monotonic, max_jwks_bytes=10_000
    )
    yield made
    await made.aclose()


def shared(*secrets: str, **options: Any) -> TokenVerifier:
    return TokenVerifier(secrets or ("secret",), clock=lambda: NOW, **options)


class TestSharedSecret:
    async def test_minted_token_gives_its_claims_back(self) -> None:
        assert await shared().verify(mint(CLAIMS, "secret")) == CLAIMS

    async def test_token_made_elsewhere_is_accepted(self) -> None:
        secret = "0123456789abcdef0123456789abcdef"
        assert await shared(secret).verify(jwt.encode(CLAIMS, secret, "HS256")) == CLAIMS

    async def test_any_of_the_secrets_verifies(self) -> None:
        for secret in ("old", "older", "new"):
            assert await shared("older", "old", "new").verify(mint(CLAIMS, secret))

    async def test_closing_leaves_nothing_to_do(self) -> None:
        verifier = shared()
        await verifier.aclose()
        assert await verifier.verify(mint(CLAIMS, "secret")) == CLAIMS

    async def test_other_secret_is_refused(self) -> None:
        token = mint(CLAIMS, "wrong")
        assert await reason(shared("old", "new"), token) == "Invalid token: Signature failed"

    async def test_changed_claims_are_refused(self) -> None:
        header, _, signature = mint(CLAIMS, "secret").split(".")
        token = ".".join([header, segment({**CLAIMS, "userId": "root"}), signature])
        assert await reason(shared(), token) == "Invalid token: Signature failed"

    @pytest.mark.parametrize("secret", ["", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])
    def test_unfit_secret_is_refused_at_once(self, secret: str) -> None:
        with pytest.raises(ValueError, match="must not be empty, nor a public key"):
            shared("good", secret)
        with pytest.raises(ValueError, match="must not be empty, nor a public key"):
            mint(CLAIMS, secret)


class TestTimes:
    @pytest.mark.parametrize("ago", [5, 6, 1e9])
    async def test_expired_token_is_refused(self, ago: float) -> None:
        assert (
            await reason(shared(), mint({"userId": "u", "exp": NOW - ago}, "secret"))
            == "Invalid token: Expired"
        )

    async def test_leeway_lets_clocks_differ(self) -> None:
        assert await shared().verify(mint({"userId": "u", "exp": NOW - 4, "nbf": NOW + 5}, "secret"))
        strict = shared(leeway_s=0)
        assert await reason(strict, mint({"exp": NOW}, "secret")) == "Invalid token: Expired"

    async def test_token_of_the_future_is_refused(self) -> None:
        token = mint({**CLAIMS, "nbf": NOW + 6}, "secret")
        assert await reason(shared(), token) == "Invalid token: Not yet valid"

    async def test_token_without_expiry_is_refused(self) -> None:
        assert await reason(shared(), mint({"userId": "u"}, "secret")) == "Invalid token: No expiry"

    @pytest.mark.parametrize(
        "times", [{"exp": "1e9"}, {"exp": True}, {"exp": None}, {"exp": NOW + 9, "nbf": []}]
    )
    async def test_time_that_is_no_number_is_refused(self, times: dict[str, Any]) -> None:
        assert await reason(shared(), mint(times, "secret")) == "Invalid token: Malformed"


class TestAudienceAndIssuer:
    @pytest.mark.parametrize("audience", ["hub", ["x", "hub"]])
    async def test_right_ones_pass(self, audience: object) -> None:
        claims = {**OWN, "aud": audience, "iss": "https://idp"}
        assert await shared(audience="hub", issuer="https://idp").verify(mint(claims, "secret"))

    @pytest.mark.parametrize(
        "audience", [{}, {"aud": "Hub"}, {"aud": ["x"]}, {"aud": {"hub": 1}}, {"aud": 1}]
    )
    async def test_wrong_audience_is_refused(self, audience: dict[str, Any]) -> None:
        token = mint({**OWN, **audience}, "secret")
        assert await reason(shared(audience="hub"), token) == "Invalid token: Audience"

    @pytest.mark.parametrize("issuer", [{}, {"iss": "x"}, {"iss": ["https://idp"]}])
    async def test_wrong_issuer_is_refused(self, issuer: dict[str, Any]) -> None:
        token = mint({**OWN, **issuer}, "secret")
        assert await reason(shared(issuer="https://idp"), token) == "Invalid token: Issuer"

    async def test_shared_secret_token_for_a_stored_user_may_lack_them(self) -> None:
        verifier = shared(audience="hub", issuer="https://idp")
        assert await verifier.verify(mint(CLAIMS, "secret"))
        assert await reason(verifier, mint({**CLAIMS, "aud": "x"}, "secret")) == "Invalid token: Audience"
        assert await reason(verifier, mint({**CLAIMS, "iss": "x"}, "secret")) == "Invalid token: Issuer"

    async def test_unconfigured_ones_are_not_looked_at(self) -> None:
        assert await shared().verify(mint({**OWN, "aud": "any", "iss": "any"}, "secret"))


class TestForm:
    @pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c.d", "...."])
    async def test_other_than_three_segments_are_incomplete(self, token: str) -> None:
        assert await reason(shared(), token) == "Invalid token: Incomplete segments"

    @pytest.mark.parametrize(
        "token",
        [
            "..",
            "a.b.c",
            "é.b.c",
            "\ud800.b.c",
            f"{segment([])}.b.c",
            f"{segment(b'[' * 50_000)}.e30.c",
            f"{segment({'alg': 'HS256', 'kid': 5})}.e30.c",
            f"{segment({'alg': 'HS256', 'crit': ['x'], 'x': 1})}.e30.c",
            f"{segment({'alg': 'HS256', 'b64': False, 'crit': ['b64']})}..c2ln",
        ],
    )
    async def test_unreadable_token_is_malformed(self, token: str) -> None:
        assert await reason(shared(), token) == "Invalid token: Malformed"

    @pytest.mark.parametrize("payload", [b"", b"[]", b"{", b"\xff", b'{"exp":NaN}', b'{"a":' + b"[" * 50_000])
    async def test_unreadable_claims_are_malformed(self, payload: bytes) -> None:
        token = jwt.PyJWS().encode(payload, "0123456789abcdef0123456789abcdef", "HS256")
        assert await reason(shared("0123456789abcdef0123456789abcdef"), token) == "Invalid token: Malformed"

    @given(st.text(alphabet="ab.=_-é", max_size=30))
    @settings(max_examples=200)
    def test_any_text_is_refused_with_the_documented_error(self, token: str) -> None:
        assert asyncio.run(reason(shared(), token)).startswith("Invalid token: ")

    async def test_texts_hold_nothing_of_the_token(self) -> None:
        token = mint({**CLAIMS, "userId": "private"}, "wrong")
        text = await reason(shared(), token)
        assert not any(part in text for part in token.split("."))


class TestAlgorithm:
    @pytest.mark.parametrize(
        "algorithm", ["none", "None", "NONE", "", None, "HS384", "HS512", "ES384", 5, ["HS256"]]
    )
    async def test_other_algorithms_are_refused(self, verifier: TokenVerifier, algorithm: object) -> None:
        token = f"{segment({'alg': algorithm})}.{segment(CLAIMS)}."
        assert await reason(verifier, token) == "Invalid token: Unsupported algorithm"

    async def test_token_without_algorithm_is_refused(self) -> None:
        assert await reason(shared(), f"{segment({})}.e30.") == "Invalid token: Unsupported algorithm"

    async def test_public_key_algorithm_needs_a_jwks(self) -> None:
        token = sign(CLAIMS, ED_KEY, "EdDSA")
        assert await reason(shared(), token) == "Invalid token: Unsupported algorithm"

    async def test_shared_algorithm_needs_a_secret(self, server: KeyServer) -> None:
        verifier = TokenVerifier(jwks_url=server.url)
        assert await reason(verifier, mint(CLAIMS, "x")) == "Invalid token: Unsupported algorithm"
        assert server.requests == 0

    async def test_public_key_is_never_a_shared_secret(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        """The classic confusion: HS256, keyed by what everybody can fetch."""
        server.publish(jwk(RSA_KEYS[0], kid="k"))
        assert await verifier.verify(sign(CLAIMS, RSA_KEYS[0], "RS256", "k"))
        public = (
            RSA_KEYS[0]
            .public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )
        signed = f"{segment({'alg': 'HS256', 'kid': 'k'})}.{segment(CLAIMS)}"
        hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        token = f"{signed}.{segment(hmac.sign(signed.encode(), public))}"
        assert await reason(verifier, token) == "Invalid token: Signature failed"

    async def test_symmetric_key_in_the_set_is_not_used(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish({"kty": "oct", "k": segment(b"x" * 32), "kid": "k"})
        token = mint(CLAIMS, "x" * 32)
        assert await reason(verifier, token) == "Invalid token: Signature failed"

    def test_symmetric_algorithm_cannot_be_configured_for_a_jwks(self) -> None:
        with pytest.raises(ValueError, match="Only RS256, ES256, EdDSA"):
            TokenVerifier(jwks_url="http://x", algorithms=["RS256", "HS256"])


class TestJwks:
    @pytest.mark.parametrize(
        ("key", "algorithm"), [(RSA_KEYS[0], "RS256"), (EC_KEY, "ES256"), (ED_KEY, "EdDSA")]
    )
    async def test_each_algorithm_verifies(
        self, server: KeyServer, verifier: TokenVerifier, key: PrivateKey, algorithm: str
    ) -> None:
        server.publish(jwk(key, kid="k"))
        assert await verifier.verify(sign(CLAIMS, key, algorithm, "k")) == CLAIMS

    async def test_token_without_key_id_is_tried_with_each_key(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish(jwk(RSA_KEYS[0], kid="a"), jwk(EC_KEY, kid="b"), jwk(RSA_KEYS[1], kid="c"))
        assert await verifier.verify(sign(CLAIMS, RSA_KEYS[1], "RS256"))

    async def test_other_entries_of_the_set_are_skipped(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish(
            5,
            {},
            {"kty": "new"},
            {"kty": "RSA", "n": 5, "e": []},
            {"kty": "EC", "crv": "P-256"},
            {"kty": "EC", "crv": "P-256", "alg": ["ES256"]},
            jwk(RSA_KEYS[0], kid="k", use="enc"),
            jwk(RSA_KEYS[1], kid="k", use="sig", alg="RS256"),
        )
        assert await verifier.verify(sign(CLAIMS, RSA_KEYS[1], "RS256", "k"))
        assert (
            await reason(verifier, sign(CLAIMS, RSA_KEYS[0], "RS256", "k"))
            == "Invalid token: Signature failed"
        )

    async def test_key_is_used_with_its_own_algorithm_only(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish(jwk(RSA_KEYS[0], kid="k", alg="RS512"))
        assert await reason(verifier, sign(CLAIMS, RSA_KEYS[0], "RS256", "k")) == "Invalid token: Unknown key"

    async def test_algorithm_that_is_not_configured_is_not_used(self, server: KeyServer) -> None:
        server.publish(jwk(RSA_KEYS[0], kid="k"))
        verifier = TokenVerifier(jwks_url=server.url, algorithms=["ES256"], clock=lambda: NOW)
        assert await reason(verifier, sign(CLAIMS, RSA_KEYS[0], "RS256", "k")) == "Invalid token: Unknown key"
        await verifier.aclose()

    async def test_keys_are_fetched_once(self, server: KeyServer, verifier: TokenVerifier) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        for _ in range(3):
            await verifier.verify(sign(CLAIMS, ED_KEY, "EdDSA", "k"))
        assert server.requests == 1

    async def test_concurrent_tokens_share_one_fetch(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        server.released.clear()
        token = sign(CLAIMS, ED_KEY, "EdDSA", "k")
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(verifier.verify(token)) for _ in range(20)]
            await server.asked.wait()
            server.released.set()
        assert [task.result() for task in tasks] == [CLAIMS] * 20
        assert server.requests == 1

    async def test_cancelled_fetch_is_done_by_the_next(
        self, server: KeyServer, verifier: TokenVerifier
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        server.released.clear()
        token = sign(CLAIMS, ED_KEY, "EdDSA", "k")
        first = asyncio.ensure_future(verifier.verify(token))
        await server.asked.wait()
        second = asyncio.ensure_future(verifier.verify(token))
        await asyncio.sleep(0)
        first.cancel()
        server.released.set()
        assert await second == CLAIMS
        with pytest.raises(asyncio.CancelledError):
            await first

    async def test_new_key_id_is_looked_for_after_a_rotation(
        self, server: KeyServer, verifier: TokenVerifier, monotonic: Clock
    ) -> None:
        server.publish(jwk(RSA_KEYS[0], kid="old"))
        old, new = (
            sign(CLAIMS, key, "RS256", kid) for key, kid in zip(RSA_KEYS, ("old", "new"), strict=True)
        )
        await verifier.verify(old)
        server.publish(jwk(RSA_KEYS[1], kid="new"))
        assert await reason(verifier, new) == "Invalid token: Unknown key"
        monotonic.now += 30
        assert await verifier.verify(new) == CLAIMS
        assert await reason(verifier, old) == "Invalid token: Unknown key"
        assert server.requests == 2

    async def test_unknown_key_ids_do_not_cause_fetches_within_the_interval(
        self, server: KeyServer, verifier: TokenVerifier, monotonic: Clock
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        for number in range(5):
            monotonic.now += 5
            token = sign(CLAIMS, ED_KEY, "EdDSA", f"made-up-{number}")
            assert await reason(verifier, token) == "Invalid token: Unknown key"
        assert server.requests == 1

    async def test_withdrawn_key_ends_with_the_age_of_the_set(
        self, server: KeyServer, verifier: TokenVerifier, monotonic: Clock
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        token = sign(CLAIMS, ED_KEY, "EdDSA", "k")
        await verifier.verify(token)
        server.publish()
        monotonic.now += 600
        assert await verifier.verify(token)
        monotonic.now += 1
        assert await reason(verifier, token) == "Invalid token: Unknown key"

    async def test_known_keys_stay_good_while_the_server_is_away(
        self, server: KeyServer, verifier: TokenVerifier, monotonic: Clock
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        known, unknown = (sign(CLAIMS, ED_KEY, "EdDSA", kid) for kid in ("k", "l"))
        await verifier.verify(known)
        server.status = "500 Oops"
        monotonic.now += 10_000
        assert await verifier.verify(known) == CLAIMS
        assert await reason(verifier, unknown) == UNAVAILABLE
        assert server.requests == 2
        server.status = "200 OK"
        monotonic.now += 30
        assert await reason(verifier, unknown) == "Invalid token: Unknown key"


class TestJwksFailures:
    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            ("404 Not Found", "", b"{}"),
            ("302 Found", "Location: http://127.0.0.1:1/\r\n", b""),
            ("200 OK", "", b"not json"),
            ("200 OK", "", b"[]"),
            ("200 OK", "", b"{}"),
            ("200 OK", "", b'{"keys":{}}'),
            ("200 OK", "", b'{"keys":' + b"[" * 9_000),
            ("200 OK", "Content-Encoding: gzip\r\n", b"not gzip"),
            ("200 OK", "", b'{"keys":[]}' + b" " * 10_000),
        ],
    )
    async def test_unusable_answer_is_reported(
        self, server: KeyServer, verifier: TokenVerifier, status: str, headers: str, body: bytes
    ) -> None:
        server.status, server.headers, server.body = status, headers, body
        assert await reason(verifier, sign(CLAIMS, ED_KEY, "EdDSA", "k")) == UNAVAILABLE

    async def test_answer_that_does_not_come_is_given_up(self, server: KeyServer) -> None:
        server.released.clear()
        verifier = TokenVerifier(jwks_url=server.url, timeout_s=0.05)
        assert await reason(verifier, sign(CLAIMS, ED_KEY, "EdDSA", "k")) == UNAVAILABLE
        await verifier.aclose()

    @pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "no url", "ftp://x/", "http://[/"])
    async def test_url_that_leads_nowhere_is_reported(self, url: str) -> None:
        verifier = TokenVerifier(["shared"], jwks_url=url, clock=lambda: NOW)
        assert await reason(verifier, sign(CLAIMS, ED_KEY, "EdDSA", "k")) == UNAVAILABLE
        assert await verifier.verify(mint(CLAIMS, "shared"))
        await verifier.aclose()

    async def test_closed_verifier_opens_a_new_connection(
        self, server: KeyServer, verifier: TokenVerifier, monotonic: Clock
    ) -> None:
        server.publish(jwk(ED_KEY, kid="k"))
        token = sign(CLAIMS, ED_KEY, "EdDSA", "k")
        await verifier.verify(token)
        await verifier.aclose()
        monotonic.now += 601
        assert await verifier.verify(token)
        assert server.requests == 2
