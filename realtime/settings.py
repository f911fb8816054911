"""Every setting, with its environment variable, default, unit and meaning.

The one home of these facts: programs read :class:`Settings`, and ``python -m realtime.settings`` prints the
page ``docs/reference/settings.md`` from it. A setting is given as an environment variable, for example
``REALTIME_PORT=9000``; lists are given with commas.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from realtime.settings_checks import (
    JWKS_ALGORITHMS,
    check_algorithms,
    check_encryption_keys,
    check_header_names,
    check_jwks_url,
    check_networks,
    check_project,
    check_redis_url,
)
from realtime.settings_fields import Names, number
from realtime.settings_workers import WorkerSettings

ENV_PREFIX = "REALTIME_"

_UNLIMITED_WITHOUT_LIMITS = (
    "messages_per_minute",
    "connections_per_minute",
    "subscriptions_per_connection",
    "channels_per_subscription",
    "queries_per_subscription",
    "conditions_per_connection",
)


class Settings(WorkerSettings, BaseSettings):
    """How a program runs. Immutable; the environment is read when the object is made.

    Raises:
        pydantic.ValidationError: A value is not of its type, out of range, or refused by
            :mod:`realtime.settings_checks`; the message names the setting, and does not show its value.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        validate_default=True,
        # Passwords and secrets are among the values.
        hide_input_in_errors=True,
    )

    # Where it runs
    host: str = Field(default="127.0.0.1", description="The address to listen on; `0.0.0.0` for all.")
    port: int = number(8080, "TCP port", "The port to listen on; 0 takes a free one.", le=65535)
    workers: int = number(1, "processes", "How many processes share the port.", ge=1)
    data_dir: Path = Field(
        default=Path(".data"),
        description="The folder of the embedded Valkey server and of everything else kept on disk.",
    )
    redis_url: Annotated[str, AfterValidator(check_redis_url)] = Field(
        default="",
        description=(
            "Where Redis or Valkey is: `redis://`, `rediss://` (TLS) or `unix://`; `redis-sentinel://` and "
            "`redis-cluster://` (or `rediss-…`) with several hosts. Empty: the embedded server of the data folder."
        ),
        repr=False,
    )
    database_url: str = Field(
        default="",
        description=(
            "Where the API keeps its data: `postgresql://user:password@host/name`, or `sqlite:///path`. Empty: a "
            "SQLite file in the data folder."
        ),
        repr=False,
    )
    database_pool_size: int = number(
        10, "connections", "How many connections to the database each API process keeps at most.", ge=2
    )
    database_timeout_s: float = number(
        10, "seconds", "How long a request waits for a free connection to the database.", gt=0
    )
    database_read_timeout_s: float = number(
        30,
        "seconds",
        "How long the database may take over what a request reads; then it is given up (503).",
        gt=0,
    )
    region: str = Field(
        default="default", description="The region's name. A project of another region is refused here."
    )
    bridge: bool = Field(
        default=False,
        description="Whether to take events from unmodified Appwrite containers too (channel `realtime`).",
    )

    # Who may connect
    dev_project: Annotated[str, AfterValidator(check_project)] = Field(
        default="demo", description="The project that development mode makes."
    )
    dev_key: str = Field(
        default="", description="The API key that development mode makes; empty makes one up.", repr=False
    )
    root_key: str = Field(
        default="",
        description="The key that may manage all projects over HTTP; empty: the command line alone can.",
        repr=False,
    )
    secret: str = Field(
        default="",
        description=(
            "The secret that signs JWTs (HS256). While it is rotated, several with commas, oldest first: "
            "the last one signs, all are accepted."
        ),
        repr=False,
    )
    encryption_keys: Annotated[Names, AfterValidator(check_encryption_keys)] = Field(
        default=(),
        description=(
            "The keys that stored secrets, such as those of webhooks, are encrypted with, of 16 characters or more; "
            "while one is rotated, several with commas, oldest first. Empty: one that is made in the data "
            "folder. Processes on other machines need the same."
        ),
        repr=False,
    )
    jwks_url: Annotated[str, AfterValidator(check_jwks_url)] = Field(
        default="", description="Where the public keys of your own identity provider are; empty: none."
    )
    jwt_algorithms: Annotated[Names, AfterValidator(check_algorithms)] = Field(
        default=JWKS_ALGORITHMS,
        description="The signature algorithms accepted with keys from the JWKS URL.",
    )
    jwt_audience: str = Field(default="", description="The `aud` that a token must name; empty accepts any.")
    jwt_issuer: str = Field(default="", description="The `iss` that a token must name; empty accepts any.")
    jwt_leeway_s: float = number(5, "seconds", "How far clocks may differ when a token's times are checked.")
    domains: Names = Field(
        default=("localhost",),
        description="Host names from which a browser may always connect, whatever the project says.",
    )
    trusted_proxies: Annotated[Names, AfterValidator(check_networks)] = Field(
        default=("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        description="The networks of proxies whose word about the client's address is taken.",
    )
    trusted_ip_headers: Annotated[Names, AfterValidator(check_header_names)] = Field(
        default=("x-forwarded-for",),
        description="The headers in which those proxies name the client's address, in order.",
    )

    # What a client may do
    limits: Literal["on", "off"] = Field(
        default="on",
        description=(
            "`off` lifts the limits on messages and connections a minute, on uses of single routes of the API, and on "
            "the size of subscriptions. The limits in bytes stay."
        ),
    )
    max_message_bytes: int = number(
        64_000, "bytes", "The largest message a client may send; a larger one closes it with 1009.", ge=1
    )
    max_header_bytes: int = number(65_536, "bytes", "The largest request head, with the URL.", ge=1)
    messages_per_minute: int = number(
        32, "messages", "How many messages a connection may send a minute; 0 for no limit."
    )
    connections_per_minute: int = number(
        128,
        "connections",
        "How many connections an IP address may open a minute on one path, whatever the project. "
        "Each process counts for itself. 0 for no limit.",
    )
    max_connections: int = number(0, "connections", "How many a process holds at most; 0 for no limit.")
    max_project_connections: int = number(
        0, "connections", "How many a process holds of one project at most; 0 for no limit."
    )
    subscriptions_per_connection: int = number(
        100, "subscriptions", "How many a connection may have; 0 for no limit."
    )
    channels_per_subscription: int = number(
        100, "channels", "How many a subscription may name; 0 for no limit."
    )
    queries_per_subscription: int = number(
        100, "queries", "How many a subscription may have; 0 for no limit."
    )
    conditions_per_connection: int = number(
        1_000,
        "conditions",
        "How many the distinct queries of a connection may have together, nested ones included: each is evaluated for "
        "every event that reaches them; 0 for no limit.",
    )
    query_depth: int = number(10, "levels", "How deep `and` and `or` may nest in a query.", ge=1)

    presence_metadata_bytes: int = number(
        8_192, "bytes", "How large the metadata of a presence may be, as JSON.", ge=2
    )

    # How connections live and end
    send_buffer_bytes: int = number(
        1_048_576,
        "bytes",
        "How much may wait for a slow client; above it the client is closed with 1013 and reconnects.",
        ge=1,
    )
    handshake_timeout_s: float = number(10, "seconds", "How long a connection may take to open.", gt=0)
    heartbeat_interval_s: int = number(
        25, "seconds", "How often a connection is pinged; one that leaves a ping unanswered is closed.", ge=1
    )
    close_timeout_s: float = number(5, "seconds", "How long a client may take to answer a close.", gt=0)
    drain_window_s: float = number(
        10, "seconds", "Over how long a stopping server spreads the closing of its connections."
    )
    resume: Literal["auto", "explicit", "off"] = Field(
        default="auto",
        description=(
            "Who gets what was missed between two connections: clients that ask for it (`explicit`), also "
            "subscriptions that return under the ID that their client made (`auto`), or nobody (`off`)."
        ),
    )
    resume_lifetime_s: float = number(
        3_600, "seconds", "How long a subscription may be away and still return under its ID.", gt=0
    )

    presence_lease_s: float = number(
        15,
        "seconds",
        "How long the presences of a hub's connections outlive the hub when it is killed, or cut off from Redis.",
        ge=1,
    )

    # What goes over the wire
    compression: bool = Field(
        default=True, description="Whether events are compressed for clients that offer permessage-deflate."
    )
    compression_threshold_bytes: int = number(
        512, "bytes", "From which size on an event is compressed; smaller ones gain nothing."
    )
    compression_level: int = Field(
        default=4,
        ge=1,
        le=9,
        description="How hard zlib tries, from 1 to 9; an event is compressed once, however many receive it.",
        json_schema_extra={"unit": "level"},
    )

    # People
    session_lifetime_s: float = number(
        31_536_000, "seconds", "How long a session is valid unless its project says otherwise.", ge=60
    )
    sessions_per_user: int = number(
        10, "sessions", "How many a user may have; a further one ends the oldest. 0 for no limit."
    )
    smtp_url: str = Field(
        default="",
        description=(
            "The mail server, `smtp://user:password@host:587` or `smtps://…`. Empty: mail is not sent, but written to "
            "the log."
        ),
        repr=False,
    )
    mail_from: str = Field(
        default="Realtime <no-reply@localhost>", description="The sender of mail to people."
    )

    # How events travel
    log_max_events: int = number(
        100_000, "events", "How many events a project's log keeps, about; 0 for no bound by number."
    )
    log_max_age_s: float = number(
        86_400, "seconds", "How long an event stays in the log; 0 for no bound by age."
    )
    publish_retry_s: float = number(
        10, "seconds", "How long a publisher tries again while Redis is away, before it raises an error."
    )
    idempotency_ttl_s: float = number(
        86_400, "seconds", "How long a publish with an idempotency key is remembered.", gt=0
    )
    events_max_batch: int = number(1_000, "events", "How many one `POST /v1/events` may publish.", ge=1)
    events_max_bytes: int = number(1_048_576, "bytes", "How large one `POST /v1/events` may be.", ge=1)
    api_max_bytes: int = number(
        1_048_576, "bytes", "How large the body of any other request to the API may be.", ge=1
    )
    request_timeout_s: float = number(
        30, "seconds", "How long the body of a request to the API may take to arrive.", gt=0
    )
    probe_interval_s: float = number(
        2, "seconds", "How often a hub sends a message to itself through Redis.", gt=0
    )
    probe_timeout_s: float = number(
        5,
        "seconds",
        "How long Redis may be silent before the hub gives the link up and makes a new one.",
        gt=0,
    )

    # What it says
    metrics_projects: int = number(
        1_000, "projects", "How many projects have counters of their own in the metrics; the rest share one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe lines that are logged."
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto",
        description="`json` for machines, `console` for people; `auto` looks whether a person is watching.",
    )

    @model_validator(mode="before")
    @classmethod
    def _lift_limits(cls, values: dict[str, Any]) -> dict[str, Any]:
        if values.get("limits") == "off":
            return values | dict.fromkeys(_UNLIMITED_WITHOUT_LIMITS, 0)
        return values

    @property
    def secrets(self) -> tuple[str, ...]:
        """The signing secrets, oldest first; empty when there are none."""
        return tuple(part.strip() for part in self.secret.split(",") if part.strip())

    @classmethod
    def describe(cls) -> list["SettingInfo"]:
        """List every setting, in the order of this class."""
        return [
            SettingInfo(
                name=name,
                variable=f"{ENV_PREFIX}{name.upper()}",
                default=_default_text(field.default),
                unit=_unit(field.json_schema_extra),
                text=field.description or "",
            )
            for name, field in _in_order(cls).items()
        ]


class SettingInfo(NamedTuple):
    """What there is to say about one setting."""

    name: str
    """The attribute of :class:`Settings`."""
    variable: str
    """The environment variable."""
    default: str
    """The default, as it would be written in the environment."""
    unit: str
    """What a number counts; empty for other settings."""
    text: str
    """What it does, and what zero or nothing means. Markdown."""


def _in_order(settings: type[Settings]) -> dict[str, FieldInfo]:
    """Return the fields of the hub, which most people look for, before those of the workers."""
    fields = settings.model_fields
    own = {name: field for name, field in fields.items() if name not in WorkerSettings.model_fields}
    return own | fields


def _default_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def _unit(extra: object) -> str:
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def reference_page() -> str:
    """Return ``docs/reference/settings.md``."""
    lines = [
        "# Settings",
        "",
        "Given as environment variables; lists with commas between the values.",
        "This page is generated from the code by `python -m realtime.settings`.",
        "",
        "| Variable | Default | Unit | Meaning |",
        "| --- | --- | --- | --- |",
    ]
    for info in Settings.describe():
        default = f"`{info.default}`" if info.default else "(empty)"
        lines.append(f"| `{info.variable}` | {default} | {info.unit} | {info.text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(reference_page())
