"""The rules that the lessons and pages follow: what `make check` looks at beside style."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
APPENDICES = sorted((ROOT / "notebooks" / "appendices").glob("*.ipynb"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "datasets").rglob("README.md")),
]
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"][
    "Repository"
].removeprefix("https://github.com/")

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
appendices = pytest.mark.parametrize("path", APPENDICES, ids=lambda path: path.stem)
notebooks = pytest.mark.parametrize("path", LESSONS + APPENDICES, ids=lambda path: path.stem)


def read(path):
    return json.loads(path.read_text("utf-8"))


def cells(path, kind):
    return [
        c for c in read(path)["cells"] if c["cell_type"] == kind and "".join(c["source"]).strip()
    ]


def source(cell):
    return "".join(cell["source"])


def prose(path):
    return "\n\n".join(map(source, cells(path, "markdown")))


def code_lines(cell):
    return [line for line in source(cell).splitlines() if line.strip()]


@notebooks
def test_a_lesson_is_kept_executed_from_top_to_bottom(path):
    counts = [cell["execution_count"] for cell in cells(path, "code")]
    assert counts == list(range(1, len(counts) + 1))


@notebooks
def test_a_lesson_holds_no_error_no_warning_and_no_progress_bar(path):
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            assert output["output_type"] != "error", source(cell)
            assert output.get("name") != "stderr", (source(cell), output["text"])
            shown = "".join(output.get("data", {}).get("text/plain", ""))
            assert not re.search(r"\d+%\|", shown), (source(cell), shown)


@notebooks
def test_a_lesson_holds_no_widget_state_no_machine_path_and_is_small(path):
    notebook = read(path)
    assert "widgets" not in notebook["metadata"]
    outputs = json.dumps([cell["outputs"] for cell in cells(path, "code")])
    assert not re.search(r"/(root|home|tmp|work|Users)/[\w.]|[A-Z]:\\\\", outputs)
    assert path.stat().st_size < 1_500_000


@lessons
def test_a_lesson_has_the_size_of_a_lesson(path):
    code = cells(path, "code")
    lengths = sorted(len(code_lines(cell)) for cell in code)
    words = len(prose(path).split())
    assert 60 <= len(code) + len(cells(path, "markdown")) <= 120
    assert 1_800 <= words <= 3_500, words
    assert lengths[len(lengths) // 2] <= 5
    assert lengths[-1] <= 25


@appendices
def test_an_appendix_is_short_and_belongs_to_a_lesson(path):
    code = cells(path, "code")
    lengths = sorted(len(code_lines(cell)) for cell in code)
    assert len(code) + len(cells(path, "markdown")) <= 40
    assert lengths[len(lengths) // 2] <= 5
    assert lengths[-1] <= 25
    (lesson,) = [each for each in LESSONS if each.name.startswith(f"0{path.name[0]}_")]
    assert f"appendices/{path.name}" in prose(lesson)
    for heading in ["You will be able to", "What we measured"]:
        assert heading in prose(path), heading


@lessons
def test_a_lesson_has_one_title_and_says_what_it_is_for(path):
    text = prose(path)
    assert len(re.findall(r"^# ", text, re.M)) == 1
    for heading in [
        "You will be able to",
        "In practice",
        "Exercises",
        "Your own texts",
        "What we measured",
    ]:
        assert heading in text, heading


@notebooks
def test_a_lesson_opens_on_colab_under_its_own_name(path):
    links = re.findall(r"colab\.research\.google\.com/github/([^)\s\"]+)", prose(path))
    assert links == [f"{REPOSITORY}/blob/main/{path.relative_to(ROOT).as_posix()}"]


@notebooks
def test_every_image_in_a_lesson_has_a_text_description(path):
    assert not re.search(r"!\[\s*\]\(", prose(path))
    for cell in cells(path, "code"):
        for output in cell["outputs"]:
            html = "".join(output.get("data", {}).get("text/html", ""))
            for image in re.findall(r"<img[^>]*>", html):
                assert re.search(r"alt=\"[^\"]{20,}\"", image), source(cell)
            if "image/png" in output.get("data", {}):
                described = output["metadata"].get("image/png", {}).get("alt", "")
                assert len(described) > 20, f"a figure without a description: {source(cell)}"


@notebooks
def test_cells_whose_output_is_cited_are_marked_at_their_first_line(path):
    marked = [c for c in cells(path, "code") if "NBVAL_CHECK_OUTPUT" in source(c)]
    assert len(marked) >= 5
    for cell in marked:
        assert source(cell).startswith("# NBVAL_CHECK_OUTPUT")
        assert cell["outputs"], source(cell)
        # nbval keeps a bar as it first stood, never what became of it: long work goes elsewhere.
        shown = ["".join(o["data"]["text/plain"]) for o in cell["outputs"] if "data" in o]
        assert "" not in shown, f"a checked cell had a progress bar: {source(cell)}"


@notebooks
def test_every_code_cell_of_a_lesson_parses(path):
    for cell in cells(path, "code"):
        ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", source(cell), flags=re.M))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_to_one(path):
    text = path.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not re.match(r"https?://|mailto:", target):
            assert (path.parent / unquote(target)).exists(), target


@notebooks
def test_every_link_of_a_lesson_to_a_file_leads_to_one(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose(path)):
        if not re.match(r"https?://|mailto:|attachment:", target):
            assert (path.parent / unquote(target)).exists(), target


@notebooks
def test_the_prose_of_a_lesson_is_spelt_right(path, tmp_path):
    (tmp_path / "prose.md").write_text(prose(path), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--toml", str(ROOT / "pyproject.toml"), "prose.md"],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_readme_gives_two_commands_and_lists_every_lesson():
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.search(r"^make lab\b", text, re.M)
    assert re.search(r"^make test\b", text, re.M)
    for path in LESSONS + APPENDICES:
        assert path.relative_to(ROOT).as_posix() in text
    assert not re.search(r"!\[\s*\]\(", text)


def test_no_test_is_bound_by_a_clock():
    """How fast a machine is says nothing about what is right; what is timed stands in benchmarks/."""
    clock = r"\b(perf_counter|monotonic|process_time|thread_time|time\.time|timeit)(_ns)?\("
    found = [
        f"{path.relative_to(ROOT).as_posix()}:{number}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if path != Path(__file__) and re.search(clock, line)
    ]
    assert not found, "\n".join(found)
