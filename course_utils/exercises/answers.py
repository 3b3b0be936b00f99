"""How a check calls a learner's function: every error becomes a reason, every loop ends."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

# More lines than any right answer needs on the small cases of a check, few enough to take no time.
_MOST_LINES = 100_000


@dataclass(frozen=True)
class Exercise:
    """An exercise: what checks an answer, returning praise or raising a reason, and its hints."""

    check: Callable[[Callable[..., Any]], str]
    hints: tuple[str, ...]


class NotYetError(Exception):
    """The reason why an answer does not hold yet; ``check`` turns it into its result."""


class NothingReturnedError(NotYetError):
    """The function returned None, as one does whose body is still three dots."""


class EndlessError(BaseException):
    """Stops a loop that does not end; no ``except Exception`` of a learner's catches it."""


def call(answer: Callable[..., Any], *arguments: Any, shown: str) -> Any:
    """Return what the learner's function makes of the arguments.

    ``shown`` is how to name this call to the learner. Raises ``NotYetError``, with the learner's
    error as its cause, for a function that raises one, does not come to an end, or returns three
    dots; and ``NothingReturnedError`` for one that returns None.
    """
    try:
        with _line_limit(answer):
            found = answer(*arguments)
            # A generator does its work here, so its errors belong here too.
            if hasattr(found, "__next__"):
                found = list(found)
    except EndlessError:
        raise NotYetError(f"{shown} does not come to an end: what makes its loop stop?") from None
    except Exception as error:
        raise NotYetError(f"{shown} raised {_told(error, answer)}") from error
    if found is Ellipsis:
        raise NotYetError(f"{shown} returned three dots: write what belongs in their place.")
    if found is None:
        raise NothingReturnedError(f"{shown} returned nothing: write its body, with a return.")
    return found


@contextmanager
def _line_limit(answer):
    code = getattr(answer, "__code__", None)
    left = _MOST_LINES

    def trace(frame, event, argument):
        nonlocal left
        if code is None or frame.f_code.co_filename != code.co_filename:
            return None
        left -= 1
        if left < 0:
            raise EndlessError
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def _told(error, answer):
    """Return the error's type and words, with the last line of the learner's code on its way."""
    code = getattr(answer, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if code and frame.filename == code.co_filename]
    where = f" in line {own[-1].lineno}" if own else ""
    line = f" ({own[-1].line})" if own and own[-1].line else ""
    words = f": {error}" if str(error) else ""
    return f"{type(error).__name__}{where}{line}{words}."


def show(value: object) -> str:
    """Return the value as Python writes it, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def number(found: Any, shown: str, *, several: str = "return one.") -> float:
    """Return one float from what was returned, be it a list, an array or a number.

    ``shown`` is how to name the call to the learner, ``several`` what to say of more numbers than
    one. Raises ``NotYetError`` for what is no number, and for more of them.
    """
    try:
        values = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise NotYetError(f"{shown} returned {show(found)}, which is not a number.") from None
    if values.size != 1:
        raise NotYetError(f"{shown} returned {values.size} numbers; {several}")
    return float(values.reshape(()))


def compare(found: float, true: float, slips: Iterable[tuple[Any, str]], case: str) -> None:
    """Raise the reason of the slip whose value was found, unless it is the true one.

    ``slips`` are pairs of the number a usual slip leads to and the reason to give for it, ``case``
    is what was asked. Raises ``NotYetError``.
    """
    for value, reason in [(true, ""), *slips]:
        if np.isclose(found, value, rtol=1e-4, atol=1e-6):
            if reason:
                raise NotYetError(reason)
            return
    raise NotYetError(f"for {case} it gave {found:.4g}, and {true:.4g} is right.")
