"""Exercises that answer back: ``check`` an answer and get a reason, ask for a ``hint`` when stuck.

A check tries the learner's function on small cases, knows the usual slips by what they return, and
never raises on account of an answer. The solutions stand folded in the lessons and in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from course_utils.exercises import lesson1, lesson2, lesson3, lesson4
from course_utils.exercises.answers import NotYetError, show

_EXERCISES = {
    **lesson1.EXERCISES,
    **lesson2.EXERCISES,
    **lesson3.EXERCISES,
    **lesson4.EXERCISES,
}


@dataclass(frozen=True)
class CheckResult:
    """What a check found: whether the answer holds, and the reason in one or two sentences."""

    exercise: str
    ok: bool
    reason: str

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"{'[OK]' if self.ok else '[not yet]'} {self.exercise}: {self.reason}"

    def _repr_html_(self) -> str:
        verdict, _, rest = repr(self).partition("] ")
        # The classes keep a dollar sign in a reason from being typeset as a formula.
        return (
            '<p class="mathjax_ignore tex2jax_ignore" style="max-width:60em">'
            f"<strong>{escape(verdict)}]</strong> {escape(rest)}</p>"
        )


@dataclass(frozen=True)
class Hint:
    """One hint, which shows itself as plain text."""

    text: str

    def __repr__(self) -> str:
        return self.text


def check(name: str, answer: Any) -> CheckResult:
    """Return whether the answer to an exercise holds, with the reason; an answer never raises here.

    ``name`` is "1.1" to "1.5", "2.1" to "2.5", "3.1" to "3.5" or "4.1" to "4.5"; ``answer`` the
    learner's function itself, without brackets after its name. The result is true where the answer
    holds.

    Raises ``ValueError`` for a name that no exercise has.

    >>> check("1.1", ...)
    [not yet] 1.1: the three dots are still there. Write your function in their place.
    """
    exercise = _exercise(name)
    try:
        if answer is Ellipsis:
            raise NotYetError("the three dots are still there. Write your function in their place.")
        if not callable(answer):
            raise NotYetError(
                f"this is {show(answer)}, not a function. Pass the function itself, without "
                "brackets after its name."
            )
        return CheckResult(name, True, exercise.check(answer))
    except NotYetError as reason:
        return CheckResult(name, False, str(reason))
    except Exception as error:
        # Only an object that breaks when it is compared or printed leads here.
        told = f"what it returned cannot be read ({type(error).__name__}). Return plain values."
        return CheckResult(name, False, told)


def hint(name: str, level: int = 1) -> Hint:
    """Return a hint for an exercise: level 1 points the way, the last level all but says it.

    Raises ``ValueError`` for a name that no exercise has, and a level that it has no hint of.

    >>> hint("1.3")
    Walk through found_ids from the start and stop at the first id that is relevant.
    """
    hints = _exercise(name).hints
    if not isinstance(level, int) or not 1 <= level <= len(hints):
        raise ValueError(f"Exercise {name} has hints 1 to {len(hints)}; {level!r} is none of them.")
    return Hint(hints[level - 1])


def _exercise(name):
    if name not in _EXERCISES:
        raise ValueError(f"There is no exercise {name!r}; there are {', '.join(_EXERCISES)}.")
    return _EXERCISES[name]
