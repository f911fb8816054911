"""Which file store the settings name."""

from realtime.settings import Settings
from workers.files.folder import FolderStore
from workers.files.store import FileStore


def open_file_store(settings: Settings) -> FileStore:
    """Return the file store of the settings; folders and connections are made when they are first needed.

    Raises:
        ValueError: the settings name a store by no URL of one, or S3 without the library for it.
    """
    if not settings.files_url:
        return FolderStore(settings.data_dir / "files")
    try:
        # Only who uses S3 has its library.
        from workers.files.s3 import S3Location, S3Store  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ValueError(
            "REALTIME_FILES_URL asks for S3, which needs a library: pip install 'realtime-hub[s3]'."
        ) from error
    return S3Store(S3Location.parse(settings.files_url))
