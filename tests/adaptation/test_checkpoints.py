"""A run that was stopped goes on bit for bit; what is not its own is neither read nor touched."""

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pandas as pd
import pytest
import torch

from course_utils.adaptation import PairsConfig, TSDAEConfig, checkpoints

from .toys import QUICK, QUICK_PAIRS, lookup_task, pairs, same, sentences, tsdae, weights

EVERY_2 = TSDAEConfig(**{**vars(QUICK), "checkpoint_every": 2})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    """Return every file below a folder and what it holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def told_steps(train, *arguments, **options):
    steps = []
    result = train(*arguments, on_progress=lambda now: steps.append(now.step), **options)
    return steps, result


# Stopped and gone on with

RUNS = {
    "light": (tsdae, {"max_steps": 20}),
    "exact": (tsdae, {"decoder": "exact"}),  # its dropout draws
    "contrast": (tsdae, {"objective": "contrast"}),
    "pairs": (pairs, {}),
}


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(tiny, tmp_path, name, bfloat16):
    train, options = RUNS[name]
    quick = QUICK_PAIRS if train is pairs else QUICK
    config = type(quick)(**{**vars(quick), **options, "bfloat16": bfloat16})
    given = {"config": config, "dev_task": lookup_task()}
    if train is pairs:
        given["general"] = sentences(20, seed=9)
    straight = train(tiny, **given)

    def stop(now):
        if now.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, folder=tmp_path, on_progress=stop, **given)
    steps, resumed = told_steps(train, tiny, folder=tmp_path, **given)
    assert steps == [*range(4, (config.max_steps or 0) + 1)]
    assert same(weights(resumed.model), weights(straight.model))
    kept = straight.history.drop(columns="seconds")
    pd.testing.assert_frame_equal(resumed.history.drop(columns="seconds"), kept)


def test_what_was_rebuilt_before_a_stop_is_still_told_of_after_it(tiny, tmp_path):
    watching = {"watch": ["rash", "fever of the arm"], "watch_at": [2, 4, 5]}
    straight = tsdae(tiny, **watching).rebuilt
    assert straight["step"].unique().tolist() == [0, 2, 4, 5, 6]

    def stop(now):
        if now.step == 4:
            raise KeyboardInterrupt

    for folder in (tmp_path / "one", tmp_path / "other"):
        with pytest.raises(KeyboardInterrupt):
            tsdae(tiny, folder=folder, on_progress=stop, **watching)
    pd.testing.assert_frame_equal(tsdae(tiny, folder=folder, **watching).rebuilt, straight)
    # Whoever goes on may look at something else, or at nothing.
    later = tsdae(tiny, folder=tmp_path / "one").rebuilt
    pd.testing.assert_frame_equal(later, straight[straight["step"] <= 4])


def test_an_interrupt_in_the_midst_of_a_step_saves_nothing_that_is_half_done(
    tiny, tmp_path, monkeypatch
):
    straight = weights(tsdae(tiny, config=EVERY_2).model)
    step, calls = torch.optim.AdamW.step, []

    def interrupted(self, *arguments):
        calls.append(1)
        step(self, *arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tsdae(tiny, config=EVERY_2, folder=tmp_path)
    assert names(tmp_path) == ["course-utils-step-00000002"]
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    assert same(weights(tsdae(tiny, config=EVERY_2, folder=tmp_path).model), straight)


SCRIPT = """
    import sys
    import torch
    from course_utils import load_model
    from course_utils.data import RetrievalTask
    from course_utils.adaptation import TSDAEConfig, train_tsdae
    torch.set_num_threads(1)
    model = load_model({model!r}, device="cpu")
    texts = open({texts!r}, encoding="utf-8").read().splitlines()
    corpus = {{str(n): text for n, text in enumerate(texts[:6])}}
    task = RetrievalTask("toy", corpus, {{"q": "a rash"}}, {{"q": {{"2": 1}}}})
    config = TSDAEConfig(batch_size=8, max_steps=30, checkpoint_every=2, decoder="exact",
                         learning_rate=1e-3, evaluate_every=3, interpolate=None, bfloat16=False)
    result = train_tsdae(model, texts, config, dev_task=task, folder={folder!r},
                         on_progress=lambda now: print(now.step, flush=True))
    result.save({out!r})
"""


def script(tmp_path, model, folder):
    (tmp_path / "texts.txt").write_text("\n".join(sentences()), "utf-8")
    text = textwrap.dedent(SCRIPT).format(
        model=str(model), texts=str(tmp_path / "texts.txt"), folder=str(tmp_path / folder),
        out=str(tmp_path / f"{folder}-model"),
    )  # fmt: skip
    return [sys.executable, "-c", text]


def test_killed_at_any_point_and_resumed_the_weights_are_bit_for_bit_the_same(
    folder_of_tiny, tmp_path
):
    whole = script(tmp_path, folder_of_tiny, "whole")
    subprocess.run(whole, check=True, capture_output=True, timeout=120)
    broken = script(tmp_path, folder_of_tiny, "broken")
    first_steps = []
    # Once after a step, once while (or just before or after) a checkpoint is being written.
    for after, delay in ((7, 0.0), (15, 0.01)):
        with subprocess.Popen(broken, stdout=subprocess.PIPE, text=True) as run:
            first_steps.append(int(run.stdout.readline()))
            for line in run.stdout:
                if int(line) >= after:
                    time.sleep(delay)
                    run.send_signal(signal.SIGKILL)
                    break
            run.stdout.read()
        assert run.returncode == -signal.SIGKILL
        assert not (tmp_path / "broken-model").exists()
    done = subprocess.run(broken, check=True, capture_output=True, text=True, timeout=120)
    first_steps.append(int(done.stdout.split()[0]))
    assert first_steps[0] == 0
    assert first_steps[1] in (6, 8)
    assert first_steps[2] >= 14
    one, other = (
        (tmp_path / f"{name}-model" / "model.safetensors").read_bytes()
        for name in ("whole", "broken")
    )
    assert one == other
    assert one != (folder_of_tiny / "model.safetensors").read_bytes()


def test_a_run_that_is_done_trains_no_further_step(tiny, tmp_path):
    first = tsdae(tiny, folder=tmp_path)
    steps, again = told_steps(tsdae, tiny, folder=tmp_path)
    assert steps == [6]
    assert same(weights(again.model), weights(first.model))


def test_a_run_that_is_done_can_be_mixed_anew_without_training(tiny, tmp_path):
    start, whole = weights(tiny), weights(tsdae(tiny, folder=tmp_path).model)
    config = TSDAEConfig(**{**vars(QUICK), "interpolate": 0.5})
    steps, half = told_steps(tsdae, tiny, config=config, folder=tmp_path)
    assert steps == [6]
    for name, weight in weights(half.model).items():
        assert torch.allclose(weight, (start[name] + whole[name]) / 2, atol=1e-6)


# Whose checkpoints


def foreign(folder):
    """Fill a folder with what the Trainer of transformers, and others, keep in theirs."""
    for step in (500, 1000):
        made = folder / f"checkpoint-{step}"
        made.mkdir(parents=True)
        (made / "trainer_state.json").write_text(json.dumps({"global_step": step}), "utf-8")
        (made / "model.safetensors").write_bytes(b"weights of another program")
    (folder / "checkpoint-00000004").mkdir()
    (folder / "checkpoint-00000004" / "run.json").write_text('{"format": "mine"}', "utf-8")
    (folder / ".checkpoint-abc").mkdir()
    (folder / ".checkpoint-abc" / "half.bin").write_bytes(b"half")
    (folder / "checkpoint-1").write_text("a file", "utf-8")
    (folder / "notes.txt").write_text("dear", "utf-8")
    return contents(folder)


@pytest.mark.parametrize("resume", [True, False])
def test_what_another_program_keeps_in_the_folder_stays_as_it_is(tiny, tmp_path, resume):
    before = foreign(tmp_path)
    steps, result = told_steps(tsdae, tiny, config=EVERY_2, folder=tmp_path, resume=resume)
    assert steps == [*range(7)]  # nothing of it is taken for a checkpoint of this run
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before
    steps, again = told_steps(tsdae, tiny, config=EVERY_2, folder=tmp_path)
    assert steps == [6]
    assert same(weights(again.model), weights(result.model))
    tsdae(tiny, config=EVERY_2, folder=tmp_path, resume=False)
    after = contents(tmp_path)
    assert {name: after.get(name) for name in before} == before


def test_the_trainer_of_transformers_takes_none_of_ours_for_its_own(tiny, tmp_path):
    from transformers.trainer_utils import get_last_checkpoint

    tsdae(tiny, folder=tmp_path)
    assert get_last_checkpoint(str(tmp_path)) is None


def test_what_a_killed_writer_of_ours_left_behind_is_cleared_away(tiny, tmp_path):
    left = tmp_path / ".course-utils-step-00000004.0123"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    tsdae(tiny, folder=tmp_path)
    assert names(tmp_path) == ["course-utils-step-00000006"]


def test_checkpoints_of_an_earlier_version_are_refused_and_left_where_they_are(tiny, tmp_path):
    old = tmp_path / "checkpoint-00000040"
    old.mkdir()
    told = {"format": "course-utils tsdae checkpoint 1", "step": 40, "run": {}, "history": []}
    (old / "run.json").write_text(json.dumps(told), "utf-8")
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"checkpoint-00000040 is .* course_utils 0\.1.* beside"):
        tsdae(tiny, folder=tmp_path)
    assert contents(tmp_path) == before
    steps, _ = told_steps(tsdae, tiny, folder=tmp_path, resume=False)
    assert steps[0] == 0
    assert contents(tmp_path).items() > before.items()


def test_another_run_in_the_folder_is_refused_with_both_values(tiny, tmp_path):
    tsdae(tiny, folder=tmp_path)
    other = TSDAEConfig(**{**vars(QUICK), "rate": 0.3})
    with pytest.raises(ValueError, match=r"rate is 0.3 here and 0.6 there"):
        tsdae(tiny, config=other, folder=tmp_path)
    with pytest.raises(ValueError, match=r"sentences is '63 \(.*\)' here and '64 \(.*\)' there"):
        tsdae(tiny, sentences()[:63], folder=tmp_path)
    with pytest.raises(ValueError, match=r"objective is 'pairs' here and 'denoising' there"):
        pairs(tiny, folder=tmp_path)
    tiny.prompts, tiny.default_prompt_name = {"field": "a patient "}, "field"
    with pytest.raises(ValueError, match=r"prompts is \['a patient '\] here and \[''\] there"):
        tsdae(tiny, folder=tmp_path)
    tiny.prompts, tiny.default_prompt_name = {}, None
    with torch.no_grad():
        tiny[0].auto_model.embeddings.word_embeddings.weight[9] += 1
    with pytest.raises(ValueError, match=r"model is '.*' here and '.*' there"):
        tsdae(tiny, folder=tmp_path)
    steps, _ = told_steps(tsdae, tiny, folder=tmp_path, resume=False)
    assert steps[0] == 0


def test_a_run_is_not_gone_on_with_in_another_arithmetic(tiny, tmp_path, monkeypatch):
    def config(bfloat16):
        return PairsConfig(**{**vars(QUICK_PAIRS), "bfloat16": bfloat16})

    pairs(tiny, config=config(False), folder=tmp_path)
    with pytest.raises(ValueError, match=r"bfloat16 is True here and False there"):
        pairs(tiny, config=config(True), folder=tmp_path)
    # What is left to the machine counts as what the machine makes of it.
    monkeypatch.setattr("course_utils.adaptation.objective.has_bfloat16", lambda device: False)
    pairs(tiny, config=config(None), folder=tmp_path)
    monkeypatch.setattr("course_utils.adaptation.objective.has_bfloat16", lambda device: True)
    with pytest.raises(ValueError, match=r"bfloat16 is True here and False there"):
        pairs(tiny, config=config(None), folder=tmp_path)


# Whole or not at all


def test_a_checkpoint_is_safetensors_and_json_and_only_the_last_stays(tiny, tmp_path):
    tsdae(tiny, config=EVERY_2, folder=tmp_path)
    assert names(tmp_path) == ["course-utils-step-00000006"]
    kept = {path.suffix for path in (tmp_path / "course-utils-step-00000006").iterdir()}
    assert kept == {".safetensors", ".json"}


def test_a_full_disk_leaves_the_last_checkpoint_intact(tiny, tmp_path, monkeypatch):
    straight = weights(tsdae(tiny, config=EVERY_2).model)
    save, calls = checkpoints.save_tensors, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 3:  # two files each for steps 2 and 4: the second of step 4
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(
        OSError, match=r"step 4 could not be .*checkpoint of step 2 is intact"
    ) as told:
        tsdae(tiny, config=EVERY_2, folder=tmp_path)
    assert told.value.errno == errno.ENOSPC
    assert names(tmp_path) == ["course-utils-step-00000002"]
    monkeypatch.setattr(checkpoints, "save_tensors", save)
    assert same(weights(tsdae(tiny, config=EVERY_2, folder=tmp_path).model), straight)


def test_a_checkpoint_that_cannot_be_moved_into_place_leaves_the_one_before(
    tiny, tmp_path, monkeypatch
):
    replace = os.replace

    def refused(source, target):
        if str(target).endswith("00000004"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(OSError, match=r"step 4 could not be .*checkpoint of step 2 is intact"):
        tsdae(tiny, config=EVERY_2, folder=tmp_path)
    assert names(tmp_path) == ["course-utils-step-00000002"]


def test_a_file_that_may_not_grow_is_a_full_disk_too(tmp_path):
    resource = pytest.importorskip("resource")
    code = """
        import resource, signal, sys, torch
        from course_utils.adaptation.checkpoints import write_checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        write_checkpoint(sys.argv[1], 1, {"weights": {"w": torch.zeros(10)}}, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        write_checkpoint(sys.argv[1], 2, {"weights": {"w": torch.zeros(10000)}}, {})
    """
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "The checkpoint of step 1 is intact" in done.stderr
    assert names(tmp_path) == ["course-utils-step-00000001"]


@pytest.mark.parametrize("damage", ["run.json", "weights.safetensors", "optimiser.safetensors"])
def test_a_damaged_checkpoint_says_so(tiny, tmp_path, damage):
    tsdae(tiny, folder=tmp_path)
    path = tmp_path / "course-utils-step-00000006" / damage
    for broken in (path.read_bytes()[:20], b""):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"cannot be read .* pass resume=False"):
            tsdae(tiny, folder=tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match=r"cannot be read .* pass resume=False"):
        tsdae(tiny, folder=tmp_path)
    steps, _ = told_steps(tsdae, tiny, folder=tmp_path, resume=False)
    assert steps[0] == 0
