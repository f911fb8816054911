"""How far a long command has come, on standard error; a bar while it goes on, if a terminal is watching."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Bar:
    """What is told how much is done."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def advance(self, number: int) -> None:
        """Say that ``number`` more are done."""
        self._progress.advance(self._task, number)

    @property
    def done(self) -> int:
        """How many are done."""
        return int(self._progress.tasks[0].completed)


@contextmanager
def counting(what: str, total: int) -> Iterator[Bar]:
    """Show how many of ``total`` things called ``what`` are done, until the block ends."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # A bar of nothing would look as if something were stuck.
    with Progress(*columns, console=Console(stderr=True), disable=not total) as progress:
        yield Bar(progress, progress.add_task(what, total=total))
