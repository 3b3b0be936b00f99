"""Where models come from: the order, the checks, the refusals and the patience."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from course_utils.models import loading as models
from course_utils.models.files import JoinedFiles
from course_utils.models.loading import (
    MODELS,
    ModelNotFoundError,
    cache_dir,
    find_model,
    load_model,
    model_table,
    pick_device,
    prefetch,
    read_card,
)

DEFAULT = MODELS["all-MiniLM-L6-v2"]


@pytest.fixture(scope="module")
def packaged():
    return find_model()


def test_the_default_model_is_packaged_and_is_the_published_file(packaged):
    assert hashlib.sha256((packaged / "model.safetensors").read_bytes()).hexdigest() == (
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    )


def test_a_packaged_model_with_a_wrong_checksum_is_refused_with_both_digests(monkeypatch, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"not the model")
    monkeypatch.setattr(models, "package_file", lambda package, path: tmp_path)
    with pytest.raises(ValueError, match="sha256") as raised:
        load_model()
    assert DEFAULT.sha256 in str(raised.value)
    assert hashlib.sha256(b"not the model").hexdigest() in str(raised.value)


def test_loading_the_default_opens_no_socket_even_when_a_hub_may_be_asked():
    code = """
import socket
def refuse(*args, **kwargs):
    raise AssertionError(f"a socket was opened: {args}")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = socket.create_connection = refuse
from course_utils import load_model
print(load_model(device="cpu").encode("a text").shape)
"""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(384,)"
    assert done.stderr == ""  # and leaves no progress bar behind


def test_a_folder_comes_before_a_package_of_the_same_name(packaged, tmp_path, monkeypatch):
    folder = tmp_path / "all-MiniLM-L6-v2"
    shutil.copytree(packaged, folder)
    monkeypatch.chdir(tmp_path)
    assert find_model("all-MiniLM-L6-v2").resolve() == folder.resolve()


def test_the_shelf_of_a_class_comes_before_the_package(tmp_path, monkeypatch):
    shelved = prefetch("all-MiniLM-L6-v2", tmp_path)
    monkeypatch.setenv("COURSE_UTILS_MODELS", str(tmp_path))
    assert find_model("sentence-transformers/all-MiniLM-L6-v2") == shelved
    assert [p.name for p in tmp_path.iterdir()] == ["all-MiniLM-L6-v2"]  # no scratch left behind


def test_a_saved_model_loads_back_from_its_folder(minilm, tmp_path):
    minilm.save_pretrained(str(tmp_path / "mine"))
    again = load_model(tmp_path / "mine", device="cpu")
    assert abs(again.encode("same text") - minilm.encode("same text")).max() < 1e-6


def test_pickled_weights_are_refused(packaged, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(packaged, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="pickled"):
        load_model(folder)


def test_code_that_travels_with_a_model_is_refused_before_it_runs(packaged, tmp_path):
    folder = tmp_path / "with-code"
    shutil.copytree(packaged, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "evil.Evil"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    with pytest.raises(ValueError, match=r"evil\.Evil"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_no_model_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"modules\.json"):
        load_model(tmp_path)


def test_a_near_miss_is_met_with_the_right_name():
    with pytest.raises(ModelNotFoundError, match="Did you mean 'all-MiniLM-L6-v2'"):
        load_model("all-MiniLM-L12")


def test_an_unknown_name_fails_when_the_hub_never_answers():
    silent = socket.create_server(("127.0.0.1", 0))
    taken = []
    threading.Thread(target=lambda: taken.append(silent.accept()), daemon=True).start()
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment["HF_ENDPOINT"] = f"http://127.0.0.1:{silent.getsockname()[1]}"
    code = """
from course_utils.models.loading import load_model, ModelNotFoundError
try:
    load_model("nobody/nothing")
except ModelNotFoundError as error:
    print(error)
"""
    # The silent server holds its connection: only patience of our own can end this.
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=600
    )
    assert "'nobody/nothing' is not on this machine and no hub answered within 4 s" in done.stdout
    assert "COURSE_UTILS_MODELS" in done.stdout
    assert len(taken) == 1
    silent.close()


def test_the_hub_is_asked_for_the_pinned_revision_and_for_safetensors_only(monkeypatch, tmp_path):
    asked = {}

    def snapshot_download(repository, **options):
        if options["local_files_only"]:
            from huggingface_hub.errors import LocalEntryNotFoundError

            raise LocalEntryNotFoundError("not cached")
        asked.update(options, repository=repository)
        return str(tmp_path)

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(models, "ask_hub", lambda repository: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(ValueError, match=r"modules\.json"):
        load_model("multi-qa-MiniLM-L6-cos-v1")
    assert asked["repository"] == "sentence-transformers/multi-qa-MiniLM-L6-cos-v1"
    assert asked["revision"] == MODELS["multi-qa-MiniLM-L6-cos-v1"].revision
    assert not any(".bin" in pattern or ".py" in pattern for pattern in asked["allow_patterns"])


@pytest.fixture
def hub(monkeypatch, packaged, tmp_path):
    """Stand in for a hub whose cache holds ``snapshot``; a download fills it from the package."""
    import huggingface_hub

    snapshot, asked = tmp_path / "snapshot", []
    snapshot.mkdir()

    def snapshot_download(repository, *, local_files_only, **options):
        if not local_files_only:
            asked.append(repository)
            shutil.copytree(packaged, snapshot, dirs_exist_ok=True)
        return str(snapshot)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    monkeypatch.setattr(models, "ask_hub", lambda repository: None)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return snapshot, asked


@pytest.mark.parametrize(
    "left_out",
    ["modules.json", "model.safetensors", "tokenizer.json vocab.txt", "config.json", "1_Pooling"],
)
def test_an_interrupted_download_is_no_model_and_the_hub_is_asked_again(hub, packaged, left_out):
    snapshot, asked = hub
    shutil.copytree(packaged, snapshot, dirs_exist_ok=True)
    for name in left_out.split():
        path = snapshot / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert find_model("owner/some-model") is None
    assert load_model("owner/some-model", device="cpu").encode("a text").shape == (384,)
    assert asked == ["owner/some-model"]
    assert find_model("owner/some-model") == snapshot


def test_an_interrupted_download_that_cannot_go_on_says_what_is_missing(hub, monkeypatch):
    snapshot, asked = hub
    (snapshot / "config.json").write_text("{}")
    monkeypatch.setattr(models, "ask_hub", lambda repository: "no hub answered")
    with pytest.raises(ModelNotFoundError, match=r"only in part \(modules\.json is missing\)"):
        load_model("owner/some-model")
    assert asked == []


@pytest.mark.parametrize("name", ["owner/some-model", "some-model"])
def test_any_model_that_was_prefetched_is_found_on_the_shelf(hub, tmp_path, monkeypatch, name):
    snapshot, asked = hub
    shelf = tmp_path / "shelf"
    assert prefetch(name, shelf) == shelf / name
    assert len(asked) == 1
    shutil.rmtree(snapshot)
    snapshot.mkdir()
    monkeypatch.setenv("COURSE_UTILS_MODELS", str(shelf))
    assert find_model(name) == shelf / name
    assert load_model(name, device="cpu").encode("a text").shape == (384,)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["..", "owner/..", "../shelf", "a\\..\\b/c", "./x"])
def test_no_name_leads_out_of_the_shelf(tmp_path, monkeypatch, name):
    (tmp_path / "shelf").mkdir()
    monkeypatch.chdir(tmp_path / "shelf")
    monkeypatch.setenv("COURSE_UTILS_MODELS", str(tmp_path / "shelf"))
    found = find_model(name)
    assert found is None or found == Path(name)  # a folder that is named is taken as named


def test_a_folder_that_lacks_a_file_says_which(packaged, tmp_path):
    shutil.copytree(packaged, tmp_path / "part")
    (tmp_path / "part" / "1_Pooling" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"not whole: 1_Pooling/config\.json is missing"):
        load_model(tmp_path / "part")


def test_a_prefetch_that_fails_leaves_nothing_on_the_shelf(packaged, tmp_path, monkeypatch):
    def copytree(source, target, **options):
        Path(target, "config.json").write_text("{}")
        raise OSError("the disk is full")

    monkeypatch.setattr(shutil, "copytree", copytree)
    with pytest.raises(OSError, match="the disk is full"):
        prefetch("all-MiniLM-L6-v2", tmp_path / "shelf")
    assert os.listdir(tmp_path / "shelf") == []


def test_the_table_states_what_the_loaded_model_has(packaged, minilm):
    card = read_card(packaged, like=DEFAULT)
    assert card.parameters == sum(p.numel() for p in minilm.parameters())
    assert card.max_tokens == minilm.max_seq_length
    assert card.dimensions == minilm.encode("a text").shape[0]
    assert card.pooling == minilm[1].get_config_dict()["pooling_mode"].removesuffix("_tokens")
    assert card == DEFAULT


def test_the_table_lists_every_model_and_says_which_are_here():
    table = model_table()
    assert list(table.index) == list(MODELS)
    assert table.loc["all-MiniLM-L6-v2", "here"]


def test_reading_a_saved_model_s_card_does_not_depend_on_the_version_that_wrote_it(
    minilm, tmp_path
):
    minilm.save_pretrained(str(tmp_path / "mine"))
    assert read_card(tmp_path / "mine", like=DEFAULT) == DEFAULT


def test_a_split_archive_reads_as_one_file(tmp_path):
    whole = bytes(range(256)) * 40
    parts = []
    for number, (start, end) in enumerate([(0, 3), (3, 5000), (5000, 5001), (5001, len(whole))]):
        parts.append(tmp_path / str(number))
        parts[-1].write_bytes(whole[start:end])
    with JoinedFiles(parts) as joined:
        assert joined.read() == whole
        for start, length in [(0, 10), (2, 4), (4999, 3), (len(whole) - 1, 10)]:
            joined.seek(start)
            collected = b""
            while len(collected) < length and (piece := joined.read(length - len(collected))):
                collected += piece
            assert collected == whole[start : start + length]
        joined.seek(-4, os.SEEK_END)
        assert joined.tell() == len(whole) - 4


def test_mpnet_comes_out_of_its_five_packages():
    folder = find_model("all-mpnet-base-v2")
    if folder is None:
        pytest.skip('all-mpnet-base-v2 is not installed: pip install "course-utils[mpnet]"')
    card = MODELS["all-mpnet-base-v2"]
    assert read_card(folder, like=card) == card
    assert load_model("all-mpnet-base-v2", device="cpu").encode("a text").shape == (768,)


def test_an_explicit_device_wins():
    assert pick_device("cpu") == "cpu"
    assert pick_device() in {"cuda", "mps", "cpu"}


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    assert Path(cache_dir()).is_dir()


def test_a_pickle_beside_a_decoy_is_refused_whatever_the_module(minilm, tmp_path):
    minilm.save_pretrained(str(tmp_path / "mine"))
    modules = json.loads((tmp_path / "mine" / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LayerNorm",
                    "type": "sentence_transformers.models.LayerNorm"})  # fmt: skip
    (tmp_path / "mine" / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "mine" / "3_LayerNorm").mkdir()
    (tmp_path / "mine" / "3_LayerNorm" / "pytorch_model.bin").write_bytes(b"a pickle")
    (tmp_path / "mine" / "3_LayerNorm" / "decoy.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match="pickled"):
        load_model(tmp_path / "mine")


def test_a_module_outside_the_model_s_folder_is_refused(minilm, tmp_path):
    minilm.save_pretrained(str(tmp_path / "mine"))
    modules = json.loads((tmp_path / "mine" / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (tmp_path / "mine" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ValueError, match="outside"):
        load_model(tmp_path / "mine")


def test_fast_gives_an_embedder_that_says_how_it_was_chosen(minilm, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path))
    model = load_model(device="cpu", precision="fast")
    table = model.choices
    assert table.index[table["chosen"]].tolist() == [model.precision]
    assert table.loc[model.precision, "mean cosine"] >= 0.995
    assert model.model_card_data.model_name == "all-MiniLM-L6-v2"
    cosines = (model.encode(["a text", "x"]) * minilm.encode(["a text", "x"])).sum(1)
    assert cosines.min() > 0.98


def test_an_unknown_precision_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match='"float32" or "fast"'):
        load_model(precision="int8")
