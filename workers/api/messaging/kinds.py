"""The kinds of providers, as one table: what each is told, and what of that is a secret. Pure.

Routes, their bodies and what has to be there before a provider is enabled all follow from :data:`KINDS`: a further kind
is a further row. Source: the messaging reference.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, create_model

from workers.api.params import Body, CustomId, Name
from workers.api.people.fields import MAX_EMAIL_CHARS, normalize_email
from workers.messaging.smtp import parse_hosts

MAX_TEXT_CHARS = 1024
"""How long a credential may be."""

MAX_KEY_CHARS = 16_384
"""How long a key may be that is a file, and a service account as JSON."""

_NOT_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def check_one_line(value: str | None) -> str | None:
    """Return ``value``, which becomes a header, or a line of what a server is told.

    Raises:
        ValueError: it has line breaks, those of Unicode too, or other control characters.
    """
    if value and _NOT_ONE_LINE.search(value):
        raise ValueError("Value must be a text without line breaks and other control characters")
    return value


def _check_email(value: str | None) -> str | None:
    return normalize_email(value) if value else value


def _check_hosts(value: str | None) -> str | None:
    if value:
        parse_hosts(value, port=1, username=None, password=None, encryption="none")
    return value


def _check_account(value: Any) -> Any:
    try:
        size_bytes = len(orjson.dumps(value))
    except TypeError as error:
        raise ValueError(
            "Value must be a JSON object of valid texts and numbers of at most 64 bits"
        ) from error
    if size_bytes > MAX_KEY_CHARS:
        raise ValueError(f"Value must be a JSON object of at most {MAX_KEY_CHARS} bytes")
    return value


def _object_of_text(value: Any) -> Any:
    """Return the object that a JSON text holds, as SDKs send it; other values as they are."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value) if value else None
    except orjson.JSONDecodeError as error:
        raise ValueError("Value must be a valid JSON object") from error


Text = Annotated[str | None, Field(max_length=MAX_TEXT_CHARS), AfterValidator(check_one_line)]
KeyText = Annotated[str | None, Field(max_length=MAX_KEY_CHARS)]
Email = Annotated[str | None, Field(max_length=MAX_EMAIL_CHARS), AfterValidator(_check_email)]
Phone = Annotated[str | None, Field(pattern=r"^(\+[1-9][0-9]{0,14})?$")]
Flag = bool | None
Hosts = Annotated[Text, AfterValidator(_check_hosts)]
Port = Annotated[int | None, Field(ge=1, le=65535)]
Encryption = Literal["none", "ssl", "tls", ""] | None
Account = Annotated[dict[str, Any] | None, BeforeValidator(_object_of_text), AfterValidator(_check_account)]

Home = Literal["secret", "credential", "option"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a provider is told."""

    name: str
    """As bodies and models have it."""
    type: Any
    """What pydantic checks it by. None stands for what is not said, an empty text for nothing."""
    home: Home
    """``secret`` is sealed and never shown; ``credential`` and ``option`` are shown under these words."""
    required: bool = False
    """Whether the provider cannot be enabled without it."""
    default: Any = None
    """What a new provider has if it is not said; None for nothing."""


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """A kind of providers."""

    word: str
    """In paths and models."""
    delivers: Literal["email", "sms", "push"]
    """Its type, as models have it."""
    sdk_name: str
    """What SDKs call it in the names of their methods."""
    parameters: tuple[Parameter, ...]

    @property
    def new_body(self) -> type[Body]:
        """What creates a provider of this kind; a model made anew each time."""
        return self._body("New", providerId=(CustomId, ...), name=(Name, ...))

    @property
    def changes_body(self) -> type[Body]:
        """What changes a provider of this kind; what is left out stays."""
        return self._body("Changed", name=(Annotated[str | None, Field(max_length=128)], None))

    def _body(self, prefix: str, **fields: Any) -> type[Body]:
        title = f"{prefix}{self.sdk_name[0].upper()}{self.sdk_name[1:]}Provider"
        for each in self.parameters:
            fields[each.name] = (each.type, None)
        fields["enabled"] = (bool | None, None)
        model: type[Body] = create_model(title, __base__=Body, **fields)
        return model

    def missing(self, values: Mapping[str, Any]) -> list[str]:
        """Return the names of what has to be said before a provider with ``values`` can be enabled."""
        return [
            each.name for each in self.parameters if each.required and values.get(each.name) in (None, "")
        ]


def _credential(name: str, type_: Any = Text, *, secret: bool = False, default: Any = None) -> Parameter:
    return Parameter(name, type_, "secret" if secret else "credential", required=True, default=default)


def _secret(name: str, type_: Any = Text) -> Parameter:
    return _credential(name, type_, secret=True)


def _option(name: str, type_: Any = Text, *, required: bool = False, default: Any = None) -> Parameter:
    return Parameter(name, type_, "option", required=required, default=default)


_SENDER = (
    _option("fromName"),
    _option("fromEmail", Email, required=True),
    _option("replyToName"),
    _option("replyToEmail", Email),
)
_FROM = _option("from", Phone, required=True)

KINDS: Mapping[str, ProviderKind] = {
    kind.word: kind
    for kind in (
        ProviderKind(
            "mailgun",
            "email",
            "mailgun",
            (
                _secret("apiKey"),
                _credential("domain"),
                _credential("isEuRegion", Flag, default=False),
                *_SENDER,
            ),
        ),
        ProviderKind("sendgrid", "email", "sendgrid", (_secret("apiKey"), *_SENDER)),
        ProviderKind("resend", "email", "resend", (_secret("apiKey"), *_SENDER)),
        ProviderKind(
            "ses",
            "email",
            "ses",
            (_credential("accessKey"), _secret("secretKey"), _credential("region"), *_SENDER),
        ),
        ProviderKind(
            "smtp",
            "email",
            "SMTP",
            (
                _credential("host", Hosts),
                _credential("port", Port, default=587),
                Parameter("username", Text, "credential", default=""),
                Parameter("password", Text, "secret"),
                _option("encryption", Encryption, default=""),
                _option("autoTLS", Flag, default=True),
                _option("mailer", default=""),
                *_SENDER,
            ),
        ),
        ProviderKind(
            "msg91", "sms", "msg91", (_credential("templateId"), _credential("senderId"), _secret("authKey"))
        ),
        ProviderKind("telesign", "sms", "telesign", (_credential("customerId"), _secret("apiKey"), _FROM)),
        ProviderKind("textmagic", "sms", "textmagic", (_credential("username"), _secret("apiKey"), _FROM)),
        ProviderKind("twilio", "sms", "twilio", (_credential("accountSid"), _secret("authToken"), _FROM)),
        ProviderKind("vonage", "sms", "vonage", (_credential("apiKey"), _secret("apiSecret"), _FROM)),
        ProviderKind("fcm", "push", "FCM", (_secret("serviceAccountJSON", Account),)),
        ProviderKind(
            "apns",
            "push",
            "APNS",
            (
                _secret("authKey", KeyText),
                _credential("authKeyId"),
                _credential("teamId"),
                _credential("bundleId"),
                _option("sandbox", Flag, default=False),
            ),
        ),
    )
}
"""Every kind, by its word."""
