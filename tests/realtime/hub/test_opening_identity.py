"""Who a connection acts as when it opens: wire specification 2.4, 16.7 and 16.8, over real sockets."""

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from realtime.identity.jwt import mint
from realtime.identity.model import Membership, Session
from realtime.identity.secrets import encode_session, hash_secret

if TYPE_CHECKING:
    from tests.realtime.hub.conftest import RunningHub

pytestmark = pytest.mark.asyncio(loop_scope="module")

Headers = dict[str, str]

SSR_DOCS = "https://appwrite.io/docs/products/auth/server-side-rendering"
JWT_AND_SESSION = (
    403,
    (
        "JWT and cookie used in the same request. Use either `setJWT` or `setCookie`. "
        f"Learn about which authentication method to use in the SSR docs: {SSR_DOCS}"
    ),
    1008,
)
KEY_AND_SESSION = (
    403,
    (
        "API key and session used in the same request. Use either `setSession` or `setKey`. "
        f"Learn about which authentication method to use in the SSR docs: {SSR_DOCS}"
    ),
    1008,
)
UNKNOWN_KEY = (401, "The API key is unknown or has expired.", 1008)
POSTS = "databases.main.tables.posts.rows"


class TestSession:
    """2.4: where a session is looked for, and when it counts."""

    @pytest.mark.parametrize(
        "present",
        [
            lambda project, value: {"Cookie": f"a_session_{project}={quote(value)}"},
            lambda project, value: {"Cookie": f"a_session_{project}={value}"},
            lambda project, value: {"Cookie": f"x=1; a_session_{project}={quote(value)}; y=2"},
            lambda project, value: {"Cookie": f"a_session_{project}_legacy={quote(value)}"},
            lambda project, value: {"X-Appwrite-Session": value},
            lambda project, value: {"X-Fallback-Cookies": json.dumps({f"a_session_{project}": value})},
        ],
        ids=["cookie", "cookie, not encoded", "among cookies", "legacy cookie", "header", "fallback cookies"],
    )
    async def test_each_source_is_read(
        self, shared: "RunningHub", present: Callable[[str, str], Headers]
    ) -> None:
        session = await shared.add_user("ada")

        assert await shared.user_of(headers=present(shared.project, session)) == "ada"

    @pytest.mark.parametrize(
        ("cookie", "header", "fallback", "winner"),
        [
            ("ada", "bob", "cyd", "ada"),
            ("not base64", "bob", "cyd", "bob"),
            ("not base64", "not base64", "cyd", "cyd"),
            # A value that names somebody hides those after it, even if it does not check out.
            ("wrong", "bob", "cyd", None),
            ("ada", "wrong", "wrong", "ada"),
        ],
    )
    async def test_first_source_that_says_anything_wins(
        self, shared: "RunningHub", cookie: str, header: str, fallback: str, winner: str | None
    ) -> None:
        values = {name: await shared.add_user(name) for name in ("ada", "bob", "cyd")}
        values |= {"not base64": "§", "wrong": encode_session("ada", "wrong")}
        name = f"a_session_{shared.project}"
        headers = {
            "Cookie": f"{name}={quote(values[cookie])}",
            "X-Appwrite-Session": quote(values[header], safe="=+/"),
            "X-Fallback-Cookies": json.dumps({name: values[fallback]}),
        }

        assert await shared.user_of(headers=headers) == winner

    @pytest.mark.parametrize(
        "fields",
        [
            {"active": False},
            {"sessions": ()},
            {"sessions": (Session("s", hash_secret("secret-of-ada"), "email", time.time() - 1),)},
            {"sessions": (Session("s", hash_secret("secret-of-ada"), "", time.time() + 600),)},
            {"sessions": (Session("s", hash_secret("another"), "email", time.time() + 600),)},
        ],
        ids=["blocked user", "no session", "expired", "no provider", "other secret"],
    )
    async def test_one_that_does_not_check_out_is_a_guest(
        self, shared: "RunningHub", fields: dict[str, Any]
    ) -> None:
        """Silently: there is no error."""
        session = await shared.add_user("ada", **fields)

        assert await shared.user_of(headers={"X-Appwrite-Session": session}) is None

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "garbage",
            "e30=",
            "bnVsbA==",
            encode_session("nobody", "secret"),
            encode_session("../ada", "x"),
        ],
        ids=["empty", "not base64", "empty object", "null", "unknown user", "no ID"],
    )
    async def test_one_that_names_nobody_is_a_guest(self, shared: "RunningHub", value: str) -> None:
        assert await shared.user_of(headers={"X-Appwrite-Session": value}) is None

    async def test_one_of_another_project_is_a_guest(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada", project="demo")

        assert await shared.user_of(headers={"X-Appwrite-Session": session}) is None
        assert await shared.user_of(headers={"Cookie": f"a_session_demo={quote(session)}"}) is None

    @pytest.mark.parametrize(
        ("options", "winner"),
        [
            ({"query": "mode=admin"}, "root"),
            ({"mode_header": "admin"}, "root"),
            ({"mode_header": "admin", "query": "mode=default"}, "ada"),
            ({"mode_header": "default", "query": "mode=admin"}, "root"),
            ({}, "ada"),
        ],
    )
    async def test_mode_admin_takes_the_session_of_the_console(
        self, shared: "RunningHub", options: dict[str, str], winner: str
    ) -> None:
        """For the mode, unlike for all else, the URL wins over the header."""
        await shared.put_project(team_id="owners")
        owner = Membership(id="m", team_id="owners")
        own = await shared.add_user("ada")
        console = await shared.add_user("root", project="console", memberships=(owner,))
        headers = {
            "Cookie": f"a_session_{shared.project}={quote(own)}; a_session_console={quote(console)}",
            "X-Appwrite-Mode": options.get("mode_header", ""),
        }

        assert await shared.user_of(headers=headers, query=options.get("query", "")) == winner

    @pytest.mark.parametrize("team", ["", "owners", "others"])
    async def test_user_of_the_console_reads_what_the_owners_read_and_nothing_else(
        self, shared: "RunningHub", team: str
    ) -> None:
        """An ID of the console may be one of the project too; neither may pass for the other."""
        await shared.put_project(team_id=team)
        memberships = (Membership(id="m", team_id="owners", roles=("owner",)),)
        console = await shared.add_user("ada", project="console", memberships=memberships, labels=("vip",))
        headers = {"Cookie": f"a_session_console={quote(console)}"}
        async with shared.greeted(headers=headers, query="mode=admin") as client:
            await client.subscribe("rows", "account")
            for role in ("user:ada", "users", "label:vip", "member:m", "team:owners", "team:owners/owner"):
                await shared.deliver("databases.d.tables.t.rows.1.create", {"for": role}, roles=[role])
            await shared.deliver("users.ada.update", {"$id": "ada"})
            received = [frame["data"]["payload"]["for"] for frame in await client.receive_waiting()]
        assert received == (["team:owners", "team:owners/owner"] if team == "owners" else [])

    async def test_user_of_the_console_who_left_the_owners_is_noticed_by_the_next_heartbeat(
        self, shared: "RunningHub"
    ) -> None:
        await shared.put_project(team_id="owners")
        memberships = (Membership(id="m", team_id="owners"),)
        console = await shared.add_user("root", project="console", memberships=memberships)
        headers = {"Cookie": f"a_session_console={quote(console)}"}
        async with shared.greeted(headers=headers, query="mode=admin") as client:
            (connection,) = shared.hub.registry.rooms[shared.project].connections
            await shared.add_user("root", project="console")
            for _ in range(shared.hub.settings.heartbeat_interval_s):
                shared.hub._beat()
            assert (await client.receive())["data"]["code"] == "signed_out"
            assert connection.identity.roles == {"guests"}

    async def test_account_is_shown(self, shared: "RunningHub") -> None:
        session = await shared.add_user(
            "ada", name="Ada", email="ada@example.com", account={"prefs": {"theme": "dark"}}
        )

        user = (await shared.greeting(headers={"X-Appwrite-Session": session}))["user"]

        assert list(user) == [
            "$id", "$createdAt", "$updatedAt", "name", "registration", "status", "labels", "passwordUpdate",
            "email", "phone", "emailVerification", "emailCanonical", "emailIsFree", "emailIsDisposable",
            "emailIsCorporate", "emailIsCanonical", "phoneVerification", "mfa", "prefs", "targets", "accessedAt",
            "impersonator", "impersonatorUserId",
        ]  # fmt: skip
        assert (user["name"], user["email"]) == ("Ada", "ada@example.com")
        assert user["prefs"] == {"theme": "dark"}
        assert "secret" not in json.dumps(user)


class TestToken:
    """2.4 and 16.8: tokens that name a stored user, and tokens that carry an identity."""

    async def test_header_and_url_are_read_and_the_header_wins(self, shared: "RunningHub") -> None:
        token = shared.token("ada")

        assert await shared.user_of(jwt=token) == "ada"
        assert await shared.user_of(headers={"X-Appwrite-JWT": token}) == "ada"
        assert await shared.user_of(headers={"X-Appwrite-JWT": token}, jwt="garbage") == "ada"

    @pytest.mark.parametrize(
        ("claims", "winner"),
        [
            ({"userId": "ada", "sessionId": "ada-session"}, "ada"),
            ({"userId": "ada"}, "ada"),
            ({"userId": "ada", "sessionId": "ended"}, None),
            ({"userId": "nobody"}, None),
            ({"userId": "eve"}, None),
        ],
        ids=["with a session", "without one", "session gone", "unknown user", "blocked user"],
    )
    async def test_stored_user_is_looked_up(
        self, shared: "RunningHub", claims: dict[str, str], winner: str | None
    ) -> None:
        await shared.add_user("ada")
        await shared.add_user("eve", active=False)
        token = shared.sign(claims)

        assert await shared.user_of(jwt=token) == winner

    async def test_own_identity_needs_no_record(self, shared: "RunningHub") -> None:
        token = shared.token("ada", name="Ada", email="ada@example.com", teams=["red"], labels=["vip"])

        user = (await shared.greeting(jwt=token))["user"]

        assert (user["$id"], user["name"], user["email"]) == ("ada", "Ada", "ada@example.com")
        assert user["labels"] == ["vip"]

    @pytest.mark.parametrize(
        ("token", "reason"),
        [
            (lambda hub: "garbage", "Invalid token: Incomplete segments"),
            (lambda hub: "a.b.c", "Invalid token: Malformed"),
            (lambda hub: hub.sign({"sub": "ada", "exp": 1}), "Invalid token: Expired"),
            (lambda hub: mint({"sub": "ada"}, hub.hub.settings.secret), "Invalid token: No expiry"),
            (lambda hub: mint({"sub": "ada", "exp": 9**12}, "wrong"), "Invalid token: Signature failed"),
            (lambda hub: hub.token("ada", project="another"), "Invalid token: Not for this project"),
            (lambda hub: hub.token("ada", nbf=9**12), "Invalid token: Not yet valid"),
            (lambda hub: hub.token("a/b"), "Invalid token: `sub` holds what is not a valid ID"),
        ],
    )
    async def test_invalid_one_is_refused(
        self, shared: "RunningHub", token: Callable[["RunningHub"], str], reason: str
    ) -> None:
        expected = (401, f"Failed to verify JWT. {reason}", 1008)

        assert await shared.refusal(jwt=token(shared)) == expected
        assert await shared.refusal(headers={"X-Appwrite-JWT": token(shared)}) == expected

    async def test_valid_session_beside_it_is_refused(self, shared: "RunningHub") -> None:
        session = await shared.add_user("ada")

        headers = {"X-Appwrite-Session": session}
        assert await shared.refusal(headers=headers, jwt=shared.token("bob")) == JWT_AND_SESSION
        # Whether the token is any good does not matter then.
        assert await shared.refusal(headers=headers, jwt="garbage") == JWT_AND_SESSION

    async def test_invalid_session_beside_it_does_no_harm(self, shared: "RunningHub") -> None:
        headers = {"X-Appwrite-Session": encode_session("ada", "wrong")}

        assert await shared.user_of(headers=headers, jwt=shared.token("bob")) == "bob"


class TestKey:
    """16.7: the API key of a project."""

    async def test_valid_one_connects_without_a_user(self, shared: "RunningHub") -> None:
        await shared.add_key("k1", "*")

        assert await shared.user_of(headers={"X-Appwrite-Key": "k1"}) is None

    @pytest.mark.parametrize("secret", ["unknown", "ended", "of-demo"])
    async def test_invalid_one_is_refused(self, shared: "RunningHub", secret: str) -> None:
        await shared.add_key("ended", "*", expires_at=time.time() - 1)
        await shared.add_key("of-demo", "*", project="demo")

        assert await shared.refusal(headers={"X-Appwrite-Key": secret}) == UNKNOWN_KEY

    async def test_url_is_not_read(self, shared: "RunningHub") -> None:
        """Keys are secrets of servers; URLs end up in logs."""
        assert await shared.user_of(key="unknown") is None

    async def test_session_or_token_beside_it_is_refused(self, shared: "RunningHub") -> None:
        await shared.add_key("k1", "*")
        session = await shared.add_user("ada")
        headers = {"X-Appwrite-Key": "k1"}

        assert await shared.refusal(headers=headers | {"X-Appwrite-Session": session}) == KEY_AND_SESSION
        assert await shared.refusal(headers=headers, jwt=shared.token("bob")) == KEY_AND_SESSION

    async def test_account_key_is_ignored(self, shared: "RunningHub") -> None:
        headers = {"X-Appwrite-Key": "of an account", "X-Appwrite-User": "ada"}

        assert await shared.user_of(headers=headers) is None


class TestImpersonation:
    """2.4: somebody with the attribute ``impersonator`` acts as somebody else."""

    @pytest.mark.parametrize(
        ("headers", "parameters", "winner"),
        [
            ({"X-Appwrite-Impersonate-User-Id": "bob"}, {}, "bob"),
            ({"X-Appwrite-Impersonate-User-Email": "BOB@Example.com"}, {}, "bob"),
            ({"X-Appwrite-Impersonate-User-Phone": "+4912"}, {}, "bob"),
            ({}, {"impersonateuserid": "bob"}, "bob"),
            ({}, {"impersonateUserId": "bob"}, "bob"),
            ({}, {"impersonateuserid": "bob", "impersonateUserId": "cyd"}, "bob"),
            ({}, {"impersonateemail": "bob@example.com"}, "bob"),
            ({}, {"impersonateEmail": "Bob@example.com"}, "bob"),
            ({}, {"impersonatephone": "+4912"}, "bob"),
            ({}, {"impersonatePhone": "+4912"}, "bob"),
            ({"X-Appwrite-Impersonate-User-Id": "bob"}, {"impersonateuserid": "cyd"}, "bob"),
            ({}, {"impersonateuserid": "cyd", "impersonateemail": "bob@example.com"}, "cyd"),
            ({}, {"impersonateemail": "cyd@example.com", "impersonatephone": "+4912"}, "cyd"),
            ({}, {"impersonateuserid": "nobody"}, "root"),
            ({}, {"impersonateemail": "nobody@example.com"}, "root"),
            ({}, {}, "root"),
        ],
    )
    async def test_target_is_found(
        self, shared: "RunningHub", headers: Headers, parameters: dict[str, str], winner: str
    ) -> None:
        await shared.add_user("bob", email="bob@example.com", phone="+4912")
        await shared.add_user("cyd", email="cyd@example.com")
        session = await shared.add_user("root", impersonator=True)

        user = await shared.user_of(headers=headers | {"X-Appwrite-Session": session}, **parameters)

        assert user == winner

    async def test_others_may_not(self, shared: "RunningHub") -> None:
        await shared.add_user("bob")
        session = await shared.add_user("ada")

        headers = {"X-Appwrite-Session": session, "X-Appwrite-Impersonate-User-Id": "bob"}
        assert await shared.user_of(headers=headers) == "ada"

    async def test_roles_channels_and_account_are_those_of_the_target(self, shared: "RunningHub") -> None:
        await shared.add_user("bob", memberships=(Membership("m1", "red"),))
        session = await shared.add_user("root", impersonator=True)
        headers = {"X-Appwrite-Session": session, "X-Appwrite-Impersonate-User-Id": "bob"}

        async with shared.connect(headers=headers, query="channels[]=account&channels[]=rows") as client:
            data = (await client.receive())["data"]
            await shared.deliver(f"{POSTS}.1.create", {"$id": "1"}, roles=["user:root"])
            await shared.deliver(f"{POSTS}.2.create", {"$id": "2"}, roles=["team:red"])

            assert (await client.receive_event())["payload"] == {"$id": "2"}

        assert data["channels"] == ["account", "rows", "account.bob"]
        assert data["user"]["$id"] == "bob"
        assert data["user"]["impersonatorUserId"] == "root"

    async def test_in_band_authentication_is_refused(self, shared: "RunningHub") -> None:
        await shared.add_user("bob")
        session = await shared.add_user("root", impersonator=True)

        async with shared.greeted(headers={"X-Appwrite-Session": session}, impersonateuserid="bob") as client:
            # Subscribing does not lift the mark, as it does in the original.
            await client.subscribe("rows")
            assert await client.ask("authentication", {"session": session}) == {
                "type": "error",
                "data": {"code": 1003, "message": "Cannot re-authenticate on an impersonated connection."},
            }
            await client.assert_silent()
