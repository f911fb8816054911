"""The settings of what works beside the hub: files and pictures, webhooks, functions, and what is kept of it all.

A part of :class:`realtime.settings.Settings`, and declared as those are.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from realtime.settings_checks import check_networks, check_schedule
from realtime.settings_fields import Names, Numbers, number


class WorkerSettings(BaseModel):
    """How the API and the workers deal with files, webhooks and functions."""

    # Files and pictures
    files_max_bytes: int = number(
        5_000_000_000, "bytes", "How large a file may be; a bucket may say less for its own.", ge=1
    )
    preview_max_bytes: int = number(
        20_971_520, "bytes", "How large an image may be for a preview to be made of it.", ge=1
    )
    preview_max_pixels: int = number(
        50_000_000,
        "pixels",
        "How many pixels such an image may have. A process that makes previews gets 16 bytes of memory for each.",
        ge=1,
    )
    preview_processes: int = number(
        2, "processes", "How many processes each API process has at most to draw pictures in.", ge=1
    )
    preview_timeout_s: float = number(10, "seconds", "How long a picture may take.", gt=0)
    initials_font: str = Field(
        default="",
        description=(
            "The TrueType or OpenType font that initials are drawn in, a path. Empty: one that has the letters of "
            "English only."
        ),
    )
    files_url: str = Field(
        default="",
        description=(
            "Where the bytes of files are kept: `s3://key:secret@bucket/prefix?region=…&endpoint=https://…`, of which "
            "key and secret, region and endpoint may be left to the usual AWS variables. Empty: the folder `files` of "
            "the data folder."
        ),
        repr=False,
    )
    upload_lifetime_s: float = number(
        86_400,
        "seconds",
        "How long an upload may pause between two new chunks before it is given up; in all, seven times as long.",
        gt=0,
    )

    # What the server may connect to when others say where
    webhooks_allow_private: bool = Field(
        default=False,
        description=(
            "Whether webhooks and mail servers of projects may be at addresses of the own network, "
            "such as `localhost`: for development. `realtime dev` allows it unless it is told otherwise."
        ),
    )
    webhooks_allowed_networks: Annotated[Names, AfterValidator(check_networks)] = Field(
        default=(),
        description="The networks of which they may be though they are not public, such as `10.1.2.0/24`.",
    )

    # Events that wait for webhooks and functions
    work_max_events: int = number(
        100_000,
        "events",
        "How many events may wait for webhooks, and how many for functions, in each of 64 parts that projects are "
        "spread over. From then on events that are waited for are not published: publishers are told, or try again. "
        "Events are published in batches, and one that finds nothing waiting is taken whatever its size.",
        ge=1,
    )
    worker_port: int = number(
        0,
        "TCP port",
        "Where `realtime webhooks` and `realtime functions` serve health and metrics; 0 for nowhere.",
        le=65535,
    )

    # Webhooks
    webhooks_schedule_s: Annotated[Numbers, AfterValidator(check_schedule)] = Field(
        default=(5, 30, 120, 600, 1_800, 7_200, 18_000, 36_000, 43_200, 64_800, 86_400),
        description=(
            "How long after each failed attempt the next one is made, give or take a tenth; after the last of them "
            "the delivery is a dead letter."
        ),
        json_schema_extra={"unit": "seconds"},
    )
    webhooks_timeout_s: float = number(15, "seconds", "How long an attempt may take in all.", gt=0)
    webhooks_connect_timeout_s: float = number(
        10, "seconds", "How long it may take to connect, of that.", gt=0
    )
    webhooks_response_max_bytes: int = number(
        65_536, "bytes", "How much of a response is read; what comes after it is cut off."
    )
    webhooks_concurrency: int = number(
        200,
        "requests",
        "How many attempts a process makes at a time. One project has at most three quarters of them.",
        ge=1,
    )
    webhooks_endpoint_concurrency: int = number(
        10, "requests", "How many of them may be to one webhook.", ge=1
    )
    webhooks_endpoint_rate: float = number(
        0, "requests a second", "How many attempts a process makes to one webhook; 0 for no limit."
    )
    webhooks_breaker_failures: int = number(
        10,
        "attempts",
        "After how many failures in a row a process leaves a webhook alone for a while; 0 for never.",
    )
    webhooks_breaker_pause_s: float = number(
        30, "seconds", "For how long, before it tries with a single request again.", gt=0
    )
    webhooks_disable_after_s: float = number(
        259_200,
        "seconds",
        "For how long all attempts must have failed before a webhook is disabled; 0 for never.",
    )
    webhooks_disable_attempts: int = number(
        10, "attempts", "How many attempts must have failed by then, one after another.", ge=1
    )
    webhooks_max_pending: int = number(
        100_000,
        "deliveries",
        "How many may wait for one webhook; further ones become dead letters at once, to be delivered again by hand.",
        ge=1,
    )
    webhooks_secret_overlap_s: float = number(
        86_400, "seconds", "For how long a secret still signs, beside the new one, after it was replaced."
    )
    webhooks_contact: str = Field(
        default="", description="Whom to tell of abuse: an address that webhooks are sent in `User-Agent`."
    )
    webhooks_delivered_max_age_s: float = number(
        604_800, "seconds", "How long a delivery is kept after it arrived; 0 for good."
    )
    webhooks_dead_max_age_s: float = number(
        2_592_000, "seconds", "How long a dead letter is kept; 0 for good."
    )

    # Functions
    functions_executor: Literal["http", "process"] = Field(
        default="http",
        description=(
            "What runs functions: `http` those that live at a URL only; `process` also the code of deployments, as "
            "processes of this machine, which is no sandbox for the code of strangers. `realtime dev` takes "
            "`process` unless it is told otherwise."
        ),
    )
    functions_concurrency: int = number(
        20,
        "executions",
        "How many executions a process that runs functions takes at a time out of the queue; as many may run in a "
        "process of the API for callers who wait for the answer. One project has at most three quarters of either.",
        ge=1,
    )
    functions_deployment_max_bytes: int = number(
        30_000_000, "bytes", "How large the archive of a deployment may be.", ge=1
    )
    functions_function_concurrency: int = number(
        10,
        "executions",
        "How many executions of one function a process runs at a time out of its queue; as many may run in a process "
        "of the API for users and guests who wait for the answer.",
        ge=1,
    )
    functions_max_depth: int = number(
        8,
        "executions",
        "How long a chain may be in which functions set off functions, by the events of what they do; the next one is "
        "not run.",
        ge=1,
    )
    functions_memory_bytes: int = number(
        536_870_912, "bytes", "How much memory the process of a function may use.", ge=33_554_432
    )
    functions_output_max_bytes: int = number(
        1_048_576, "bytes", "How much a function may log; what comes after it is cut off.", ge=1_024
    )
    functions_response_max_bytes: int = number(
        6_291_456, "bytes", "How large the response of a function may be.", ge=1_024
    )
    functions_endpoint: str = Field(
        default="",
        description=(
            "Where functions that run as processes reach the API, such as `https://example.com/v1`. Empty: this "
            "machine, at the port of the settings."
        ),
    )
    functions_python: str = Field(
        default="", description="The Python that runs functions; empty: the one that runs this program."
    )
    functions_node: str = Field(default="node", description="The Node.js that runs functions.")

    # What is kept, and for how long
    maintenance_interval_s: float = number(
        300, "seconds", "About how often an API process removes what is over.", gt=0
    )
    activity_max_age_s: float = number(
        7_776_000, "seconds", "How long the log of what people did is kept; 0 for good."
    )
    executions_max_age_s: float = number(
        1_209_600, "seconds", "How long an execution is kept after it ended; 0 for good."
    )
    messages_max_age_s: float = number(
        0, "seconds", "How long a message is kept after it was sent or has failed; 0 for good."
    )
