import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import ClientError, CloseCode
from realtime.identity.model import DevKey, Platform, Project
from realtime.identity.origins import check_origin, is_dev_key
from realtime.identity.secrets import hash_secret

PROJECT = Project(
    "My_project",
    platforms=(
        Platform("web", hostname="App.example"),
        Platform("flutter-web", hostname="*.wild.example"),
        Platform("unity", hostname="localhost"),
        Platform("apple-ios", key="com.example.ios"),
        Platform("react-native-android", key="com.example.droid"),
        Platform("scheme", key="myapp"),
    ),
)


def refusal(origin: str, project: Project = PROJECT, *, dev_key: bool = False) -> str | None:
    """Return the text of the refusal; None when the origin passes."""
    try:
        check_origin(origin, project, platform_hosts=["cloud.example"], dev_key=dev_key)
    except ClientError as error:
        return str(error)
    return None


def unregistered(host: str, platform: str) -> str:
    return (
        f"Invalid Origin. Register your new client ({host}) as a new {platform} platform on your project console "
        "dashboard"
    )


class TestAccepted:
    @pytest.mark.parametrize(
        "origin",
        [
            "",
            "https://cloud.example",
            "http://app.example:8080",
            "https://APP.example/path?query#fragment",
            "https://user:password@app.example",
            "https://a.wild.example",
            "https://a.b.wild.example",
            "http://localhost:3000",
            "http://127.0.0.1:3000",
            "http://[::1]:3000",
            "http://[::1]",
            "chrome-extension://com.example.ios",
            "exp://192.168.1.7:19000",
            "appwrite-callback-My_project://",
            "appwrite-ios://com.example.ios",
            "appwrite-android://anything",
            "myapp://x",
        ],
    )
    def test_registered_origin_passes(self, origin: str) -> None:
        assert refusal(origin) is None

    def test_star_accepts_every_host(self) -> None:
        project = Project("p", platforms=(Platform("web", hostname="*"),))
        assert refusal("tauri://anything.at.all", project) is None
        assert refusal("https://", project) is not None

    def test_console_accepts_every_origin(self) -> None:
        assert refusal("https://evil.example", Project("console")) is None


class TestRefused:
    def test_refusal_closes_for_good(self) -> None:
        with pytest.raises(ClientError) as caught:
            check_origin("null", PROJECT, platform_hosts=[])
        assert (caught.value.code, caught.value.close_code) == (1008, CloseCode.POLICY_VIOLATION)

    @pytest.mark.parametrize(
        ("origin", "platform"),
        [
            ("http://appwrite.unknown", "Web"),
            ("https://appwrite.unknown:444", "Web"),
            ("chrome-extension://appwrite.unknown", "Web (Chrome Extension)"),
            ("moz-extension://appwrite.unknown", "Web (Firefox Extension)"),
            ("safari-web-extension://appwrite.unknown", "Web (Safari Extension)"),
            ("ms-browser-extension://appwrite.unknown", "Web (Edge Extension)"),
            ("appwrite-macos://appwrite.unknown", "macOS"),
            ("appwrite-watchos://appwrite.unknown", "watchOS"),
            ("appwrite-tvos://appwrite.unknown", "tvOS"),
            ("appwrite-windows://appwrite.unknown", "Windows"),
            ("appwrite-linux://appwrite.unknown", "Linux"),
        ],
    )
    def test_unknown_host_is_told_which_platform_to_register(self, origin: str, platform: str) -> None:
        assert refusal(origin) == unregistered("appwrite.unknown", platform)

    def test_empty_host_leaves_the_parentheses_empty(self) -> None:
        assert refusal("https://") == unregistered("", "Web")

    def test_bare_domain_does_not_match_its_wildcard(self) -> None:
        assert refusal("https://wild.example") == unregistered("wild.example", "Web")
        assert refusal("https://.wild.example") == unregistered(".wild.example", "Web")
        assert refusal("https://evilwild.example") == unregistered("evilwild.example", "Web")

    def test_loopback_needs_localhost(self) -> None:
        assert refusal("http://127.0.0.1", Project("p")) == unregistered("127.0.0.1", "Web")

    def test_key_of_a_custom_scheme_is_no_host(self) -> None:
        assert refusal("https://myapp") == unregistered("myapp", "Web")

    @pytest.mark.parametrize("origin", ["null", "app.example", "/", "*"])
    def test_neither_scheme_nor_host_is_invalid(self, origin: str) -> None:
        assert refusal(origin) == "Invalid Origin."

    @pytest.mark.parametrize(
        ("origin", "scheme"),
        [
            ("ftp://app.example", "ftp"),
            ("file://", "file"),
            ("//app.example", ""),
            ("appwrite-callback-my_project://", "appwrite-callback-my_project"),
            ("appwrite-callback-other://", "appwrite-callback-other"),
            ("MYAPP://x", "MYAPP"),
        ],
    )
    def test_unknown_scheme_is_named(self, origin: str, scheme: str) -> None:
        assert refusal(origin) == (
            f"Invalid Scheme. The scheme used ({scheme}) in the Origin ({origin}) is not supported. If you are using "
            "a custom scheme, please change it to `appwrite-callback-<PROJECT_ID>`"
        )

    @given(st.text(max_size=40))
    @settings(max_examples=200)
    def test_any_text_is_judged_without_another_error(self, origin: str) -> None:
        refusal(origin)
        refusal(origin, dev_key=True)


class TestDevKey:
    @pytest.mark.parametrize("origin", ["https://any.example", "ftp://x", "exp://1.2.3.4:1/--/"])
    def test_any_url_passes(self, origin: str) -> None:
        assert refusal(origin, dev_key=True) is None

    @pytest.mark.parametrize(
        "origin", ["null", "https://", "https:// x", "//any.example", "https://a\nb", "1://a"]
    )
    def test_what_is_no_url_is_refused(self, origin: str) -> None:
        assert refusal(origin, dev_key=True) == "Value must be a valid URL"


class TestAppleApps:
    @pytest.mark.parametrize("system", ["ios", "macos", "watchos", "tvos"])
    def test_platform_of_type_apple_stands_for_every_system_of_apple(self, system: str) -> None:
        project = Project("p", platforms=(Platform("apple", key="com.example.app"),))
        assert refusal(f"appwrite-{system}://com.example.app", project) is None
        assert refusal("appwrite-android://com.example.app", project) is not None


class TestIsDevKey:
    PROJECT = Project(
        "p",
        dev_keys=(
            DevKey("for-ever", hash_secret("one")),
            DevKey("for-now", hash_secret("two"), expires_at=100.0),
        ),
    )

    @pytest.mark.parametrize(
        ("secret", "now", "valid"),
        [
            ("one", 1e9, True),
            ("two", 100.0, True),
            ("two", 100.1, False),
            ("three", 0.0, False),
            ("", 0.0, False),
        ],
    )
    def test_secret_counts_until_the_key_ends(self, secret: str, now: float, valid: bool) -> None:
        assert is_dev_key(self.PROJECT, secret, now) is valid
