from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import redis.asyncio

from realtime.errors import ClientError, ErrorKind, InvalidCredentialError
from realtime.identity.account import account_object
from realtime.identity.jwt import TokenVerifier, mint
from realtime.identity.model import GUEST, ApiKey, Identity, Membership, Project, Session, User
from realtime.identity.resolver import Resolver
from realtime.identity.secrets import encode_session, hash_secret
from realtime.identity.store import IdentityStore

NOW = 1_000_000.0
PROJECT = Project("p")


@dataclass(frozen=True)
class Presented:
    """Stands for the credentials of the handshake."""

    sessions: tuple[str, ...] = ()
    jwt: str = ""
    key: str = ""
    key_user: str = ""
    impersonate_id: str = ""
    impersonate_email: str = ""
    impersonate_phone: str = ""


def session(session_id: str, secret: str, *, ends: float = NOW + 3600, provider: str = "email") -> Session:
    return Session(session_id, hash_secret(secret), provider, ends)


ADA = User(
    "ada",
    email="ada@example.com",
    email_verified=True,
    memberships=(Membership("m", "red", ("owner",)),),
    sessions=(
        session("s0", "expired", ends=NOW - 1),
        session("s1", "ada secret"),
        session("s2", "no provider", provider=""),
    ),
)
BOB = User("bob", email="Bob@Example.com", phone="+49", sessions=(session("s3", "bob secret"),))
BLOCKED = User("blocked", active=False, email="no@x", sessions=(session("s4", "blocked secret"),))
ADMIN = User("admin", impersonator=True, sessions=(session("s5", "admin secret"),))
KEY = ApiKey("k", scopes=("rows.read",), expires_at=NOW + 60)

OWNED = Project("p", team_id="red")
ADA_VALUE = encode_session("ada", "ada secret")
ADMIN_VALUE = encode_session("admin", "admin secret")
ADA_IDENTITY = Identity(
    ADA.roles(), "ada", "s1", account=account_object(ADA), expires_at=NOW + 3600, stored=True
)


def token(secret: str = "shared", **claims: Any) -> str:
    return mint({"exp": NOW + 900, **claims}, secret)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(redis_client: redis.asyncio.Redis) -> IdentityStore:
    store = IdentityStore(redis_client)
    for user in (ADA, BOB, BLOCKED, ADMIN):
        await store.put_user("p", user)
    await store.put_key("p", KEY, "key secret")
    await store.put_key("p", ApiKey("old", scopes=("*",), expires_at=NOW - 1), "old secret")
    return store


@pytest.fixture
def resolver(store: IdentityStore, clock: Clock) -> Resolver:
    return Resolver(store, TokenVerifier(["shared"], clock=clock), clock)


async def refused(resolver: Resolver, presented: Presented) -> tuple[ErrorKind, str]:
    with pytest.raises(ClientError) as caught:
        await resolver.resolve(PROJECT, presented)
    return caught.value.kind, str(caught.value)


class TestSession:
    async def test_valid_session_is_its_user(self, resolver: Resolver) -> None:
        assert await resolver.resolve(PROJECT, Presented((ADA_VALUE,))) == ADA_IDENTITY

    async def test_nothing_presented_is_a_guest(self, resolver: Resolver) -> None:
        assert await resolver.resolve(PROJECT, Presented()) is GUEST

    @pytest.mark.parametrize(
        "value",
        [
            encode_session("ada", "wrong"),
            encode_session("ada", "bob secret"),
            encode_session("ada", "expired"),
            encode_session("ada", "no provider"),
            encode_session("ada", ""),
            encode_session("", "ada secret"),
            encode_session("nobody", "ada secret"),
            encode_session("a:b", "ada secret"),
            encode_session("blocked", "blocked secret"),
        ],
    )
    async def test_session_that_does_not_check_out_is_a_guest(self, resolver: Resolver, value: str) -> None:
        assert await resolver.resolve(PROJECT, Presented((value,))) is GUEST

    async def test_session_is_good_to_its_last_moment(self, resolver: Resolver, clock: Clock) -> None:
        clock.now = NOW + 3600
        assert (await resolver.resolve(PROJECT, Presented((ADA_VALUE,)))).user_id == "ada"
        clock.now += 0.001
        assert await resolver.resolve(PROJECT, Presented((ADA_VALUE,))) is GUEST

    async def test_first_value_that_can_be_decoded_counts(self, resolver: Resolver) -> None:
        for nothing in ("", "garbage", encode_session("", "")):
            assert (await resolver.resolve(PROJECT, Presented((nothing, ADA_VALUE)))).user_id == "ada"
        wrong = encode_session("ada", "wrong")
        assert await resolver.resolve(PROJECT, Presented((wrong, ADA_VALUE))) is GUEST

    async def test_user_of_another_project_is_a_guest(self, resolver: Resolver) -> None:
        assert await resolver.resolve(Project("q"), Presented((ADA_VALUE,))) is GUEST

    async def test_admin_mode_looks_in_the_console(self, resolver: Resolver, store: IdentityStore) -> None:
        assert await resolver.resolve(PROJECT, Presented((ADA_VALUE,)), admin=True) is GUEST
        await store.put_user("console", ADA)
        identity = await resolver.resolve(OWNED, Presented((ADA_VALUE,)), admin=True)
        roles = frozenset({"team:red", "team:red/owner"})
        assert identity == msgspec.structs.replace(ADA_IDENTITY, home="console", roles=roles)
        at_console = await resolver.resolve(Project("console"), Presented((ADA_VALUE,)), admin=True)
        assert at_console == ADA_IDENTITY


class TestToken:
    async def test_session_decides_how_long_the_identity_lasts(self, resolver: Resolver) -> None:
        presented = Presented(jwt=token(userId="ada", sessionId="s1"))
        assert await resolver.resolve(PROJECT, presented) == ADA_IDENTITY

    async def test_token_of_a_function_keeps_its_depth(self, resolver: Resolver) -> None:
        for claims in ({"sessionId": "s1"}, {}):
            presented = Presented(jwt=token(userId="ada", depth=3, **claims))
            identity = await resolver.resolve(PROJECT, presented)
            assert (identity.user_id, identity.depth) == ("ada", 3)
            assert await resolver.refresh(PROJECT, identity) == identity

    async def test_token_without_session_lasts_until_its_expiry(self, resolver: Resolver) -> None:
        identity = await resolver.resolve(PROJECT, Presented(jwt=token(userId="ada")))
        assert identity == msgspec.structs.replace(ADA_IDENTITY, session_id="", expires_at=NOW + 900)

    @pytest.mark.parametrize(
        "claims",
        [
            {"userId": "nobody"},
            {"userId": "blocked"},
            {"userId": "ada", "sessionId": "s0"},
            {"userId": "ada", "sessionId": "s3"},
            {"userId": "ada", "sessionId": "gone"},
        ],
    )
    async def test_unknown_user_or_inactive_session_is_a_guest(
        self, resolver: Resolver, claims: dict[str, str]
    ) -> None:
        assert await resolver.resolve(PROJECT, Presented(jwt=token(**claims))) is GUEST

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (token("other", userId="ada"), "Invalid token: Signature failed"),
            (token(userId="ada", exp=NOW - 60), "Invalid token: Expired"),
            (token(userId="ada", project="q"), "Invalid token: Not for this project"),
            ("garbage", "Invalid token: Incomplete segments"),
        ],
    )
    async def test_invalid_token_is_refused(self, resolver: Resolver, value: str, reason: str) -> None:
        expected = (ErrorKind.JWT_INVALID, f"Failed to verify JWT. {reason}")
        assert await refused(resolver, Presented(jwt=value)) == expected

    async def test_token_is_refused_where_none_are_accepted(self, store: IdentityStore, clock: Clock) -> None:
        resolver = Resolver(store, None, clock)
        expected = (ErrorKind.JWT_INVALID, "Failed to verify JWT. Tokens are not accepted here.")
        assert await refused(resolver, Presented(jwt=token(userId="ada"))) == expected

    async def test_valid_session_and_token_are_one_too_many(self, resolver: Resolver) -> None:
        for value in (token(userId="ada"), "garbage"):
            kind, _ = await refused(resolver, Presented((ADA_VALUE,), jwt=value))
            assert kind is ErrorKind.JWT_AND_SESSION

    async def test_session_that_does_not_check_out_leaves_the_token(self, resolver: Resolver) -> None:
        for value in (encode_session("ada", "wrong"), encode_session("blocked", "blocked secret")):
            presented = Presented((value,), jwt=token(userId="bob"))
            assert (await resolver.resolve(PROJECT, presented)).user_id == "bob"

    async def test_token_with_claims_of_its_own_needs_no_record(self, resolver: Resolver) -> None:
        value = token(sub="eve", name="Eve", verified=True, teams=["red/dev"], labels=["vip"])
        identity = await resolver.resolve(PROJECT, Presented(jwt=value))
        assert identity.roles == {
            "user:eve",
            "users",
            "user:eve/verified",
            "users/verified",
            "team:red",
            "team:red/dev",
            "label:vip",
        }
        assert identity.account is not None
        assert (identity.account["$id"], identity.account["name"]) == ("eve", "Eve")
        assert (identity.user_id, identity.session_id, identity.expires_at) == ("eve", "", NOW + 900)
        assert not identity.stored


class TestKey:
    async def test_key_makes_a_connection_without_user(self, resolver: Resolver) -> None:
        identity = await resolver.resolve(PROJECT, Presented(key="key secret"))
        assert identity == Identity(frozenset({"keys:rows"}), key_id="k", expires_at=NOW + 60, stored=True)

    @pytest.mark.parametrize("secret", ["wrong", "old secret"])
    async def test_unknown_or_expired_key_is_refused(self, resolver: Resolver, secret: str) -> None:
        for sessions in ((), (ADA_VALUE,)):
            kind, _ = await refused(resolver, Presented(sessions, key=secret))
            assert kind is ErrorKind.KEY_INVALID

    @pytest.mark.parametrize(
        "presented",
        [Presented((ADA_VALUE,), key="key secret"), Presented(jwt=token(sub="eve"), key="key secret")],
    )
    async def test_key_and_user_are_one_too_many(self, resolver: Resolver, presented: Presented) -> None:
        kind, _ = await refused(resolver, presented)
        assert kind is ErrorKind.KEY_AND_SESSION

    async def test_guest_credentials_leave_the_key(self, resolver: Resolver) -> None:
        presented = Presented(("garbage",), jwt=token(userId="nobody"), key="key secret")
        assert (await resolver.resolve(PROJECT, presented)).key_id == "k"

    async def test_account_key_is_ignored(self, resolver: Resolver) -> None:
        presented = Presented((ADA_VALUE,), key="anything", key_user="ada")
        assert await resolver.resolve(PROJECT, presented) == ADA_IDENTITY

    async def test_check_key_returns_the_key(self, resolver: Resolver) -> None:
        assert await resolver.check_key(PROJECT, "key secret") == KEY

    @pytest.mark.parametrize("secret", ["", "wrong", "old secret"])
    async def test_check_key_refuses_others(self, resolver: Resolver, secret: str) -> None:
        with pytest.raises(InvalidCredentialError, match="unknown or has expired"):
            await resolver.check_key(PROJECT, secret)


class TestImpersonation:
    @pytest.mark.parametrize(
        "presented",
        [
            Presented((ADMIN_VALUE,), impersonate_id="bob"),
            Presented((ADMIN_VALUE,), impersonate_email="bob@example.com"),
            Presented((ADMIN_VALUE,), impersonate_phone="+49"),
            Presented((ADMIN_VALUE,), impersonate_id="bob", impersonate_email="ada@example.com"),
            Presented((ADMIN_VALUE,), impersonate_email="bob@example.com", impersonate_phone="unknown"),
        ],
    )
    async def test_impersonator_becomes_the_target(self, resolver: Resolver, presented: Presented) -> None:
        identity = await resolver.resolve(PROJECT, presented)
        assert identity == Identity(
            BOB.roles(),
            "bob",
            "s5",
            account={**account_object(BOB), "impersonatorUserId": "admin"},
            expires_at=NOW + 3600,
            stored=True,
            impersonated=True,
            impersonator_id="admin",
        )

    @pytest.mark.parametrize(
        "target",
        [
            {},
            {"impersonate_id": "nobody"},
            {"impersonate_id": "blocked"},
            {"impersonate_email": "nobody@example.com"},
            {"impersonate_phone": "0"},
            {"impersonate_id": "nobody", "impersonate_phone": "+49"},
        ],
    )
    async def test_target_that_does_not_exist_is_ignored(
        self, resolver: Resolver, target: dict[str, str]
    ) -> None:
        identity = await resolver.resolve(PROJECT, Presented((ADMIN_VALUE,), **target))
        assert (identity.user_id, identity.impersonated) == ("admin", False)

    async def test_others_may_not(self, resolver: Resolver) -> None:
        presented = Presented((ADA_VALUE,), impersonate_id="bob")
        assert await resolver.resolve(PROJECT, presented) == ADA_IDENTITY
        assert await resolver.resolve(PROJECT, Presented(impersonate_id="bob")) is GUEST

    async def test_token_of_an_impersonator_may(self, resolver: Resolver) -> None:
        presented = Presented(jwt=token(userId="admin", sessionId="s5"), impersonate_id="bob")
        assert (await resolver.resolve(PROJECT, presented)).user_id == "bob"


class TestAuthenticate:
    async def test_valid_credentials_give_their_identity(self, resolver: Resolver) -> None:
        assert await resolver.authenticate(PROJECT, session=ADA_VALUE) == ADA_IDENTITY
        by_token = await resolver.authenticate(PROJECT, jwt=token(userId="ada", sessionId="s1"))
        assert by_token == ADA_IDENTITY
        assert (await resolver.authenticate(PROJECT, jwt=token(sub="eve"))).user_id == "eve"
        assert (await resolver.authenticate(PROJECT, key="key secret")).key_id == "k"

    @pytest.mark.parametrize(
        "credential",
        [
            {},
            {"session": "garbage"},
            {"session": encode_session("ada", "wrong")},
            {"session": encode_session("blocked", "blocked secret")},
            {"jwt": token(userId="nobody")},
            {"jwt": token(userId="ada", sessionId="s0")},
        ],
    )
    async def test_what_leads_to_no_user_is_not_valid(
        self, resolver: Resolver, credential: dict[str, str]
    ) -> None:
        with pytest.raises(ClientError, match=r"^Session is not valid\.$") as caught:
            await resolver.authenticate(PROJECT, **credential)
        assert caught.value.kind is ErrorKind.SESSION_INVALID

    @pytest.mark.parametrize(
        ("credential", "text"),
        [
            ({"jwt": token("x", userId="ada")}, "Failed to verify JWT. Invalid token: Signature failed"),
            ({"key": "wrong"}, "The API key is unknown or has expired."),
        ],
    )
    async def test_invalid_token_or_key_says_why_and_keeps_the_connection(
        self, resolver: Resolver, credential: dict[str, str], text: str
    ) -> None:
        with pytest.raises(ClientError) as caught:
            await resolver.authenticate(PROJECT, **credential)
        assert caught.value.kind is ErrorKind.CREDENTIAL_INVALID
        assert (caught.value.code, caught.value.close_code, str(caught.value)) == (1003, None, text)


class TestRefresh:
    async def test_changed_record_gives_new_roles(self, resolver: Resolver, store: IdentityStore) -> None:
        await store.put_user("p", msgspec.structs.replace(ADA, memberships=(), labels=("vip",)))
        identity = await resolver.refresh(PROJECT, ADA_IDENTITY)
        assert "label:vip" in identity.roles
        assert "team:red" not in identity.roles
        assert (identity.user_id, identity.session_id) == ("ada", "s1")

    async def test_unchanged_record_gives_the_same(self, resolver: Resolver) -> None:
        assert await resolver.refresh(PROJECT, ADA_IDENTITY) == ADA_IDENTITY
        assert await resolver.refresh(PROJECT, GUEST) is GUEST

    async def test_longer_session_lasts_longer(self, resolver: Resolver, store: IdentityStore) -> None:
        await store.put_user(
            "p", msgspec.structs.replace(ADA, sessions=(session("s1", "x", ends=NOW + 9999),))
        )
        assert (await resolver.refresh(PROJECT, ADA_IDENTITY)).expires_at == NOW + 9999

    @pytest.mark.parametrize(
        "changed",
        [
            msgspec.structs.replace(ADA, sessions=()),
            msgspec.structs.replace(ADA, sessions=(session("s1", "ada secret", ends=NOW - 1),)),
            msgspec.structs.replace(ADA, active=False),
        ],
    )
    async def test_revoked_identity_is_a_guest(
        self, resolver: Resolver, store: IdentityStore, changed: User
    ) -> None:
        await store.put_user("p", changed)
        assert await resolver.refresh(PROJECT, ADA_IDENTITY) is GUEST

    async def test_deleted_user_is_a_guest(self, resolver: Resolver, store: IdentityStore) -> None:
        await store.delete_user("p", "ada")
        assert await resolver.refresh(PROJECT, ADA_IDENTITY) is GUEST

    @pytest.mark.parametrize(("issued_at", "is_good"), [(NOW - 2, False), (NOW - 1, True), (None, True)])
    async def test_token_without_session_ends_with_the_password(
        self, resolver: Resolver, store: IdentityStore, issued_at: float | None, is_good: bool
    ) -> None:
        presented = Presented(jwt=token(userId="ada", iat=issued_at))
        before = await resolver.resolve(PROJECT, presented)
        assert before.user_id == "ada"
        await store.put_user("p", msgspec.structs.replace(ADA, tokens_from=NOW - 0.5))
        expected = before if is_good else GUEST
        assert await resolver.refresh(PROJECT, before) == expected
        assert await resolver.resolve(PROJECT, presented) == expected

    async def test_token_of_a_session_ends_with_the_session_only(
        self, resolver: Resolver, store: IdentityStore
    ) -> None:
        await store.put_user("p", msgspec.structs.replace(ADA, tokens_from=NOW))
        presented = Presented(jwt=token(userId="ada", sessionId="s1", iat=NOW - 100))
        assert (await resolver.resolve(PROJECT, presented)).user_id == "ada"

    async def test_token_without_session_keeps_its_expiry(self, resolver: Resolver, clock: Clock) -> None:
        identity = await resolver.resolve(PROJECT, Presented(jwt=token(userId="ada")))
        assert await resolver.refresh(PROJECT, identity) == identity
        clock.now += 901
        assert await resolver.refresh(PROJECT, identity) is GUEST

    async def test_identity_of_its_own_stays_until_it_expires(self, resolver: Resolver, clock: Clock) -> None:
        identity = await resolver.resolve(PROJECT, Presented(jwt=token(sub="ada")))
        assert await resolver.refresh(PROJECT, identity) is identity
        clock.now += 901
        assert await resolver.refresh(PROJECT, identity) is GUEST

    async def test_admin_mode_is_read_from_the_console(
        self, resolver: Resolver, store: IdentityStore
    ) -> None:
        await store.put_user("console", ADA)
        identity = await resolver.resolve(OWNED, Presented((ADA_VALUE,)), admin=True)
        await store.delete_user("p", "ada")
        assert await resolver.refresh(OWNED, identity) == identity
        await store.delete_user("console", "ada")
        assert await resolver.refresh(OWNED, identity) is GUEST

    @pytest.mark.parametrize("owner", ["", "blue"])
    async def test_admin_mode_is_for_the_owners_of_a_project(
        self, resolver: Resolver, store: IdentityStore, owner: str
    ) -> None:
        await store.put_user("console", ADA)
        project = Project("p", team_id=owner)
        assert await resolver.resolve(project, Presented((ADA_VALUE,)), admin=True) is GUEST

    async def test_key_follows_its_scopes_and_end(
        self, resolver: Resolver, store: IdentityStore, clock: Clock
    ) -> None:
        identity = await resolver.resolve(PROJECT, Presented(key="key secret"))
        await store.put_key("p", ApiKey("k", scopes=("*",), expires_at=NOW + 99), "other secret")
        refreshed = await resolver.refresh(PROJECT, identity)
        assert refreshed.roles == {"keys"}
        assert refreshed.expires_at == NOW + 99
        clock.now += 100
        assert await resolver.refresh(PROJECT, refreshed) is GUEST
        clock.now = NOW
        await store.delete_key("p", "k")
        assert await resolver.refresh(PROJECT, refreshed) is GUEST


class TestRefreshImpersonated:
    @pytest.fixture
    async def identity(self, resolver: Resolver) -> Identity:
        return await resolver.resolve(PROJECT, Presented((ADMIN_VALUE,), impersonate_id="bob"))

    async def test_change_of_the_target_is_followed(
        self, resolver: Resolver, store: IdentityStore, identity: Identity
    ) -> None:
        await store.put_user("p", msgspec.structs.replace(BOB, labels=("vip",), sessions=()))
        refreshed = await resolver.refresh(PROJECT, identity)
        assert refreshed.roles == identity.roles | {"label:vip"}
        assert (refreshed.impersonated, refreshed.impersonator_id) == (True, "admin")

    @pytest.mark.parametrize(
        "changed",
        [
            msgspec.structs.replace(BOB, active=False),
            msgspec.structs.replace(ADMIN, active=False),
            msgspec.structs.replace(ADMIN, impersonator=False),
            msgspec.structs.replace(ADMIN, sessions=()),
        ],
    )
    async def test_loss_on_either_side_makes_a_guest(
        self, resolver: Resolver, store: IdentityStore, identity: Identity, changed: User
    ) -> None:
        await store.put_user("p", changed)
        assert await resolver.refresh(PROJECT, identity) is GUEST
