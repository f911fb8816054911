"""What ``realtime doctor`` asks of the mail server and the file store. Imported by it alone: it takes its time."""

import asyncio
import contextlib

import aiosmtplib

from realtime.settings import Settings
from workers.cli.context import without_password
from workers.cli.findings import Finding, Level
from workers.files.opening import open_file_store
from workers.files.store import FileStore
from workers.messaging.smtp import SmtpServer

TIMEOUT_S = 6.0
"""How long each may take. A file store gives up by itself a little earlier, and says why."""


def check_mail(settings: Settings) -> Finding:
    """Judge whether the mail server lets us in. No mail is sent."""
    if not settings.smtp_url:
        return Finding(
            Level.WARN,
            "mail",
            "REALTIME_SMTP_URL is not set: mail is not sent, but written to the log",
            "set it where people sign up; for development the log will do",
        )
    try:
        server = SmtpServer.from_url(settings.smtp_url)
    except ValueError as error:
        return Finding(Level.FAIL, "mail", str(error), "mend REALTIME_SMTP_URL")
    where = without_password(settings.smtp_url)
    try:
        asyncio.run(_log_in(server))
    except (aiosmtplib.SMTPException, OSError, ValueError, IndexError) as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
        return Finding(
            Level.FAIL,
            "mail",
            f"{where}: {reason}",
            "start the mail server there, or mend REALTIME_SMTP_URL",
        )
    return Finding(Level.OK, "mail", f"{where} answers")


async def _log_in(server: SmtpServer) -> None:
    client = aiosmtplib.SMTP(
        hostname=server.hostname,
        port=server.port,
        username=server.username,
        password=server.password,
        use_tls=server.encryption == "ssl",
        timeout=TIMEOUT_S,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await client.connect()
            with contextlib.suppress(aiosmtplib.SMTPException):
                await client.quit()
    finally:
        client.close()


def check_files(settings: Settings) -> Finding:
    """Judge whether files could be kept now; a folder that does not exist yet is made with the first file."""
    folder = settings.data_dir.resolve() / "files"
    if not settings.files_url and not folder.exists():
        return Finding(Level.OK, "files", f"to be kept in {folder}")
    advice = "mend REALTIME_FILES_URL, or what it names" if settings.files_url else "mend the folder's owner"
    try:
        store = open_file_store(settings)
    except ValueError as error:
        return Finding(Level.FAIL, "files", str(error), advice)
    where = without_password(settings.files_url) or str(folder)
    try:
        asyncio.run(_check_store(store))
    except (OSError, ValueError) as error:
        reason = "it does not answer" if isinstance(error, TimeoutError) else str(error)
        return Finding(Level.FAIL, "files", f"{where}: {reason}", advice)
    return Finding(Level.OK, "files", f"{where} can keep files")


async def _check_store(store: FileStore) -> None:
    async with contextlib.aclosing(store), asyncio.timeout(TIMEOUT_S):
        await store.check()
