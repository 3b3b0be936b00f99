"""Whether a processor computes in bfloat16 itself is what its flags say, and torch agrees."""

import pytest
import torch

from course_utils.models import processor
from course_utils.models.processor import has_bfloat16

FLAGS = "processor\t: 0\nvendor_id\t: any\nflags\t\t: fpu sse2 {} avx512f\n\nprocessor\t: 1\n"


@pytest.mark.parametrize(
    ("told", "has"),
    [
        (FLAGS.format("avx512_bf16"), True),
        (FLAGS.format("amx_bf16"), True),
        (FLAGS.format("avx512_vnni"), False),
        (FLAGS.format("not_avx512_bf16"), False),
        ("processor\t: 0\nFeatures\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_the_flags_of_the_processor_decide(tmp_path, monkeypatch, told, has):
    path = tmp_path / "cpuinfo"
    path.write_text(told, "utf-8")
    monkeypatch.setattr(processor, "_CPUINFO", path)
    assert has_bfloat16("cpu") is has
    assert has_bfloat16(torch.device("cpu")) is has


def test_a_system_that_tells_no_flags_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "nowhere")
    assert has_bfloat16("cpu") is False


def test_other_devices_have_none():
    assert has_bfloat16("mps") is False
    assert has_bfloat16("meta") is False


def test_torch_sees_the_same_on_this_machine():
    if not hasattr(torch.cpu, "get_capabilities"):
        pytest.skip("this torch does not tell")
    told = torch.cpu.get_capabilities()
    known = bool(told.get("avx512_bf16") or told.get("amx_bf16"))
    if not processor._CPUINFO.exists():
        pytest.skip("this system does not tell")
    assert has_bfloat16("cpu") is known
