"""Which file store the settings name."""

from realtime.settings import Settings
from workers.files.folder import FolderStore
from workers.files.store import FileStore


def open_file_store(settings: Settings) -> FileStore:
    """Return the file store of the settings; folders and connections are made when they are first needed."""
    return FolderStore(settings.data_dir / "files")
