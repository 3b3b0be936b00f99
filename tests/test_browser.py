"""Lesson 1 as a learner meets it: served by the README's command, run in a real browser."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LESSON = "01_sentence_transformers.ipynb"  # JupyterLab serves the folder of the file it opens
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

# Every cell in the page, and no autosave: the lesson on disk stays as it is.
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker.jupyterlab-settings": {"windowingMode": "none"},
    "@jupyterlab/docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Start what `make lab` starts and yield its address."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    folder = tmp_path_factory.mktemp("lab")
    for name, value in SETTINGS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(value))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = (
        f"--no-browser --allow-root --port={port} --ServerApp.port_retries=0 "
        f"--IdentityProvider.token=test --LabApp.user_settings_dir={folder} "
        f"--LabApp.workspaces_dir={folder} --LabApp.expose_app_in_browser=True"  # nobody's open tabs
    )
    # The environment under test is already there, whichever it is: make only has to start it.
    command = ["make", "lab", f"LAB_ARGS={arguments}"]
    if not (ROOT / ".venv" / ".installed").exists():
        command += ["-o", ".venv/.installed", f"BIN={Path(sys.executable).parent}"]
    log = open(folder / "log", "w+")  # noqa: SIM115 - closed below
    server = subprocess.Popen(
        command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api/contents/{LESSON}?content=0&token=test", server, log)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
        log.close()


def _wait_for(url, server, log, tries=200):
    for _ in range(tries):
        if server.poll() is not None:
            break
        try:
            return urllib.request.urlopen(url, timeout=5)  # noqa: S310 - a loopback address
        except OSError:
            time.sleep(0.3)
    log.seek(0)
    raise AssertionError(f"JupyterLab did not answer:\n{log.read()}")


def test_the_first_command_serves_lesson_1(lab):
    with urllib.request.urlopen(f"{lab}/lab/tree/{LESSON}?token=test", timeout=30) as page:  # noqa: S310
        assert page.status == 200
        assert "JupyterLab" in page.read().decode()


def test_run_all_in_a_browser_ends_without_an_error_and_with_widgets(lab, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    before = (ROOT / "notebooks" / LESSON).read_bytes()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*QUIET, "--no-sandbox"] if os.name == "posix" else QUIET
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{lab}/lab/tree/{LESSON}?token=test")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'",
            timeout=60_000,
        )
        page.set_default_timeout(600_000)
        # Run All, exactly as the menu entry does it.
        page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_timeout(1_000)
        page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status == 'idle'"
            " && ![...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]"
            ".some(prompt => prompt.textContent.includes('*'))",
        )
        page.wait_for_timeout(2_000)  # the last widgets are drawn after the kernel is idle
        errors = page.locator('[data-mime-type="application/vnd.jupyter.error"]').all_inner_texts()
        warnings = page.locator(
            '[data-mime-type="application/vnd.jupyter.stderr"]'
        ).all_inner_texts()
        prompts = page.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts()
        widgets = page.locator(".jp-CodeCell .jupyter-widgets").count()
        sliders = page.locator(".widget-slider").count()
        bars = page.locator(".widget-hprogress:visible").count()
        broken = page.get_by_text("Error displaying widget").count()
        browser.close()
    assert errors == []
    assert warnings == []
    assert [int(re.sub(r"\D", "", text)) for text in prompts] == list(range(1, len(prompts) + 1))
    assert broken == 0
    assert widgets > 20
    assert sliders == 2  # how many results, how many dimensions
    assert bars == 0  # no progress bar is left behind
    assert (ROOT / "notebooks" / LESSON).read_bytes() == before
