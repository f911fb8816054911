"""What owners of webhooks read of an attempt that got no response, in a few words.

The texts name nothing of this network, such as the addresses of a name or how a connection inwards failed: whoever
gives URLs could look around in it otherwise.
"""

import ssl

import aiohttp

from workers.outbound.connector import RefusedError
from workers.outbound.responses import FramingError, HeadError
from workers.outbound.targets import TargetError
from workers.store.sealing import UnsealError

_TEXTS: tuple[tuple[type[BaseException], str], ...] = (
    (aiohttp.ConnectionTimeoutError, "The endpoint could not be connected to in time."),
    (TimeoutError, "The response was not complete in time."),
    (aiohttp.ClientConnectorDNSError, "The host could not be resolved."),
    (aiohttp.ClientSSLError, "The endpoint does not speak TLS as it should."),
    (aiohttp.ClientConnectorError, "The endpoint could not be connected to."),
    (aiohttp.ClientPayloadError, "The connection was closed before the response was complete."),
    (aiohttp.ClientResponseError, "The response is not HTTP."),
    (HeadError, "The response has too many preliminary responses, or too large headers."),
    (FramingError, "The response comes in too many small chunks."),
    (aiohttp.ServerDisconnectedError, "The connection was closed before there was a response."),
    (aiohttp.ClientOSError, "The connection was lost before the response was complete."),
)
"""The first that fits."""

EXPECTED = (aiohttp.ClientError, TargetError, UnsealError, OSError)
"""What may go wrong with an attempt. :class:`TimeoutError` is among them."""


def refusal(error: BaseException) -> str:
    """Return why nothing may be sent to where an attempt would have gone; empty if that is not what went wrong."""
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return str(cause) if isinstance(cause, (RefusedError, TargetError)) else ""


def describe(error: BaseException) -> str:
    """Return the text for an error that is one of :data:`EXPECTED`, and no refusal."""
    if isinstance(error, UnsealError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        reason = (
            cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else "it is not valid"
        )
        return f"The certificate of the endpoint cannot be trusted: {reason}"
    for kind, text in _TEXTS:
        if isinstance(error, kind):
            return text
    return "The request could not be made."
