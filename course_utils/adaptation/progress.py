"""How a run shows where it is: a function that training calls with a ``Progress`` after every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from course_utils.encoding.progress import progress_bar


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``step`` of ``steps`` done, ``history`` with one dict per step so far.

    The rows are those of ``TrainingResult.history``; at a step at which sentences are watched, a row
    has ``rebuilt`` too, a dict from each to what the decoder made of it. ``ended`` is True once, for
    the last step.
    """

    step: int
    steps: int
    history: list[dict[str, Any]] = field(repr=False)
    ended: bool = False

    @property
    def latest(self) -> dict[str, Any]:
        """The last row of the history."""
        return self.history[-1]


def watchers(
    on_progress: Callable[[Progress], Any] | None, show_progress_bar: bool | None
) -> list[Callable[[Progress], Any]]:
    """Return what is told of a run: the caller's function, a bar, or both.

    A bar is shown where ``show_progress_bar`` is True, and where it is None and there is no function.
    """
    told = [] if on_progress is None else [on_progress]
    bar = on_progress is None if show_progress_bar is None else show_progress_bar
    return [training_bar(), *told] if bar else told


def training_bar() -> Callable[[Progress], None]:
    """Return a function that shows each ``Progress`` on a bar, with the loss and the dev score."""
    bar = None

    def show(progress: Progress) -> None:
        nonlocal bar
        if bar is None:
            bar = progress_bar(
                total=progress.steps, initial=progress.step, description="Training", unit="steps"
            )
        bar.update(progress.step - bar.n)
        loss = progress.latest["loss"]
        told = {} if loss is None else {"loss": f"{loss:.3f}"}
        scores = [row["dev"] for row in progress.history if row["dev"] is not None]
        bar.set_postfix(told | ({"dev": f"{scores[-1]:.4f}"} if scores else {}))
        if progress.ended:
            bar.close()

    return show
