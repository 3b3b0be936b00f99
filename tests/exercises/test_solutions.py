"""The solutions that stand folded in the lessons pass the checks that stand beside them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from course_utils.exercises import check

FENCE = re.compile(r"<details><summary>Solution</summary>\s*```python\n(.*?)```\s*</details>", re.S)


def exercises():
    """Yield (name of the exercise, name of the function, code of the folded solution)."""
    for path in sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text("utf-8"))["cells"]
        checked = None
        for cell in cells:
            text = "".join(cell["source"])
            if cell["cell_type"] == "code":
                asked = re.search(r'check\("([\d.]+)", (\w+)\)', text)
                checked = asked.groups() if asked else checked
            elif checked and (solution := FENCE.search(text)):
                yield *checked, solution[1]
                checked = None


@pytest.mark.parametrize(("name", "function", "code"), exercises(), ids=lambda value: value[:12])
def test_the_folded_solution_of_an_exercise_passes_its_check(name, function, code):
    namespace = {"np": np}
    exec(code, namespace)  # noqa: S102 - our own code, from our own lesson
    result = check(name, namespace[function])
    assert result.ok, result.reason


def test_every_exercise_stands_in_a_lesson_with_a_solution():
    from course_utils.exercises import _EXERCISES

    assert {name for name, _, _ in exercises()} == set(_EXERCISES)
