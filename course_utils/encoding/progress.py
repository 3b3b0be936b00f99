"""A bar for long work that leaves nothing behind, neither in a terminal nor in a notebook's file."""

import sys
from typing import Any


def progress_bar(*, total: int, description: str, unit: str, initial: int = 0) -> Any:
    """Return a ``tqdm`` bar that is gone when it is closed.

    ``total`` and ``initial`` count what ``unit`` names. In Jupyter it is a line of text beneath the
    cell, which is emptied in the end: tqdm's own bar for notebooks would stay in the saved file.

    >>> bar = progress_bar(total=2, description="Counting", unit="sheep")
    >>> bar.update(2)
    >>> bar.close()
    """
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=f" {unit}",
        leave=False,
        file=_CellLine() if _in_jupyter() else None,
    )


class _CellLine:
    """A file whose last line is shown in one place beneath a notebook's cell."""

    def __init__(self):
        self.handle = None

    def write(self, text):
        from IPython.display import display

        shown = {"text/plain": text.rpartition("\r")[2].strip()}
        if self.handle is None:
            self.handle = display(shown, raw=True, display_id=True)
        else:
            self.handle.update(shown, raw=True)

    def flush(self):
        """There is nothing to wait for."""


def _in_jupyter():
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"
