"""Progress bars for what takes over two seconds; on a terminal only, gone when done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(description: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar that is told how much is done and, in words, how it goes.

    Example:
        >>> with progress("Training", 2) as advance:
        ...     advance(1, "loss 0.3")
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        Remaining(),
        TextColumn("{task.fields[words]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        task = bars.add_task(description, total=total, words="")
        yield lambda done, words: bars.update(task, completed=done, words=words)
