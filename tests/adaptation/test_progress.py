"""A run tells where it is: to a function, on a bar, or to nobody."""

from course_utils.adaptation import Progress

from .toys import lookup_task, pairs, tsdae


def test_a_bar_by_default_and_silence_on_request(tiny, capfd):
    tsdae(tiny, show_progress_bar=None, dev_task=lookup_task())
    told = capfd.readouterr().err
    assert "Training:" in told
    assert "6/6" in told
    assert "loss=" in told
    assert "dev=" in told
    assert told.endswith("\r")  # and is gone when the run is done
    tsdae(tiny, show_progress_bar=False)
    assert "Training" not in capfd.readouterr().err


def test_a_function_takes_the_place_of_the_bar_unless_both_are_wanted(tiny, capfd):
    steps = []

    def look(now):
        steps.append(now.step)

    pairs(tiny, show_progress_bar=None, on_progress=look)
    assert "Training" not in capfd.readouterr().err
    pairs(tiny, show_progress_bar=True, on_progress=look)
    assert "Training" in capfd.readouterr().err
    assert steps == [*range(7), *range(7)]


def test_each_step_is_told_and_the_last_one_says_that_it_is(tiny):
    told = []
    result = pairs(tiny, on_progress=told.append)
    assert all(isinstance(now, Progress) and now.steps == 6 for now in told)
    assert [now.ended for now in told] == [False] * 6 + [True]
    assert [row["loss"] for row in told[-1].history[1:]] == result.history["loss"].tolist()[1:]
    assert told[-1].latest["step"] == 6
