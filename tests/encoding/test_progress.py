"""A bar shows where long work is, and nothing of it stays behind."""

import nbformat
import pytest
from nbclient import NotebookClient

from course_utils.encoding.progress import progress_bar


def test_in_a_terminal_a_bar_counts_and_is_gone(capfd):
    bar = progress_bar(total=4, initial=1, description="Counting", unit="sheep")
    bar.update(3)
    bar.refresh()
    bar.close()
    told = capfd.readouterr().err
    assert "Counting: 100%" in told
    assert "4/4" in told
    assert told.rstrip("\r").rpartition("\r")[2].strip() == ""


LONG_WORK = """
from course_utils.encoding.progress import progress_bar

bar = progress_bar(total=4, description="Counting", unit="sheep")
for _ in range(4):
    bar.update()
    bar.refresh()
{stop}
bar.close()
print("done")
"""


@pytest.mark.parametrize(
    ("stop", "shown"), [("", ""), ("import io; kept, bar = bar, io.StringIO()", "100%")]
)
def test_in_a_notebook_a_line_counts_and_is_emptied(stop, shown):
    """With the bar left open, the line is there to see; once it is closed, the file holds none."""
    cell = nbformat.v4.new_code_cell(LONG_WORK.format(stop=stop))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    lines = [o for o in cell.outputs if o.output_type == "display_data"]
    assert len(lines) == 1
    text = lines[0].data["text/plain"]
    assert (shown in text) if shown else text == ""
    assert not any(output.get("name") == "stderr" for output in cell.outputs)
    assert "application/vnd.jupyter.widget-view+json" not in lines[0].data
