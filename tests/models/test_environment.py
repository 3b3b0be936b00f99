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


def test_importing_the_package_is_quick_and_pulls_in_no_heavy_library():
    code = (
        "import sys, time; start = time.perf_counter(); import course_utils; "
        "print(time.perf_counter() - start); "
        "print([m for m in ('torch', 'matplotlib', 'pandas', 'sklearn') if m in sys.modules])"
    )
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    seconds, heavy = zip(*(d.stdout.split("\n")[:2] for d in done), strict=True)
    assert set(heavy) == {"[]"}
    assert min(map(float, seconds)) < 0.4


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


def test_the_setup_check_reports_a_missing_torch_instead_of_failing(capsys, monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from course_utils.models import environment

    def nothing_installed(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(environment, "version", nothing_installed)
    assert environment.check_setup() is False
    assert "[!]  torch is missing" in capsys.readouterr().out


def test_the_table_of_judgements_that_the_readme_shows_can_be_loaded(tmp_path):
    from course_utils import load_task

    quoted = re.search(r"judgements\.csv.*columns: ([a-z, ]+)", (ROOT / "README.md").read_text())[1]
    (tmp_path / "judgements.csv").write_text(
        f"{quoted.replace(' ', '')}\nwhat?,this,1\nwhat?,that,0\n"
    )
    task = load_task(tmp_path / "judgements.csv")
    assert len(task.queries) == 1
    assert len(task.corpus) == 2
