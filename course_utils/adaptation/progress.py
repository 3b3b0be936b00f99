"""How a run shows where it is: a bar in a terminal, a figure in a notebook, or what you like.

Each is a function that ``train_tsdae`` calls with a ``Progress`` after every step.
"""

import time
from dataclasses import dataclass, field

_REDRAW_SECONDS = 1.0  # a figure that is redrawn more often costs more than it tells


@dataclass(frozen=True)
class Progress:
    """Where a run is: ``step`` of ``steps`` done, ``history`` with one dict per step so far.

    The rows are those of ``TSDAEResult.history``; ``ended`` is True once, for the last step.
    """

    step: int
    steps: int
    history: list[dict] = field(repr=False)
    ended: bool = False

    @property
    def latest(self):
        """The last row of the history."""
        return self.history[-1]


def in_jupyter():
    """Return whether this runs in a notebook's kernel."""
    import sys

    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def default_progress(show):
    """Return what shows a run: a figure in Jupyter, a bar elsewhere; nothing if ``show`` is False."""
    if show is False:
        return lambda progress: None
    return live_figure(draw_curves) if in_jupyter() else progress_bar()


def progress_bar():
    """Return a function that shows each ``Progress`` on a bar, with the loss and the dev score."""
    bar = None

    def show(progress):
        nonlocal bar
        if bar is None:
            from tqdm import tqdm

            bar = tqdm(total=progress.steps, initial=progress.step, desc="Training", unit=" steps")
        bar.update(progress.step - bar.n)
        loss = progress.latest["loss"]
        told = {} if loss is None else {"loss": f"{loss:.3f}"}
        scores = [row["dev"] for row in progress.history if row["dev"] is not None]
        bar.set_postfix(told | ({"dev": f"{scores[-1]:.4f}"} if scores else {}))
        if progress.ended:
            bar.close()

    return show


def live_figure(draw, *, every=None):
    """Return a function that draws each ``Progress`` in one place of a notebook, over the last.

    ``draw(progress)`` returns what IPython can display: an HTML object, a matplotlib figure, ... It
    is called at most once in ``every`` seconds (``None``: one), and for the last step. Needs IPython.
    """
    from IPython.display import display

    every = _REDRAW_SECONDS if every is None else every
    handle, drawn = None, -every

    def show(progress):
        nonlocal handle, drawn
        now = time.monotonic()
        if now - drawn < every and not progress.ended:
            return
        drawn = now
        if handle is None:
            handle = display(draw(progress), display_id=True)
        else:
            handle.update(draw(progress))

    return show


def draw_curves(progress):
    """Return the loss and the dev score against the step, as an SVG with a text description."""
    from IPython.display import HTML

    rows = progress.history
    panels = [("Loss", [(r["step"], r["loss"]) for r in rows if r["loss"] is not None])]
    scores = [(r["step"], r["dev"]) for r in rows if r["dev"] is not None]
    if scores:
        panels.append(("Dev score", scores))
    drawn = "".join(
        _panel(name, points, progress.steps, 20 + 340 * place)
        for place, (name, points) in enumerate(panels)
    )
    told = "; ".join(f"{name.lower()} {points[-1][1]:.4f}" for name, points in panels if points)
    words = f"Line charts over {progress.steps} steps: at step {progress.step}, {told}."
    return HTML(
        f'<svg role="img" aria-label="{words}" viewBox="0 0 {340 * len(panels)} 200" '
        f'width="{340 * len(panels)}" style="max-width:100%;color:inherit" '
        'font-family="sans-serif" font-size="12" fill="currentColor">'
        f"<title>{words}</title>{drawn}</svg>"
    )


def _panel(name, points, steps, left, width=290, top=30, height=120):
    """Return one line chart as SVG; a long run is thinned to the width of the panel."""
    points = points[:: max(1, len(points) // width)] + points[-1:]
    if not points:
        return ""
    low, high = min(y for _, y in points), max(y for _, y in points)
    spread = (high - low) or 1.0
    placed = " ".join(
        f"{left + width * x / steps:.1f},{top + height * (high - y) / spread:.1f}"
        for x, y in points
    )
    bottom = top + height
    return (
        f'<text x="{left}" y="18">{name}: {points[-1][1]:.4f}</text>'
        f'<path d="M{left} {top}V{bottom}H{left + width}" fill="none" stroke="currentColor" '
        'stroke-opacity="0.4"/>'
        f'<polyline points="{placed}" fill="none" stroke="#0072b2" stroke-width="2"/>'
        f'<text x="{left + 4}" y="{top + 10}" opacity="0.7">{high:.3g}</text>'
        f'<text x="{left + 4}" y="{bottom - 4}" opacity="0.7">{low:.3g}</text>'
        f'<text x="{left}" y="{bottom + 16}" opacity="0.7">0</text>'
        f'<text x="{left + width}" y="{bottom + 16}" text-anchor="end" opacity="0.7">'
        f"{steps} steps</text>"
    )
