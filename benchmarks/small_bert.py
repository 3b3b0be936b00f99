"""A small BERT that nobody tuned for similarity: trained by masking alone, on the course's own texts.

    python benchmarks/small_bert.py                        hold the stored model to what its card says
    python benchmarks/small_bert.py --folder RUN           train, or go on with what lies in RUN; export
    python benchmarks/small_bert.py --folder RUN --export  only write datasets/small_bert/ from RUN's checkpoint

TSDAE's authors start from language models, while the packaged models were tuned on a billion pairs
before they came here. This one is a start like theirs, and small: 5.3 million weights. Texts are put
end to end and cut into rows; of 15 % of the tokens, drawn anew each time, most are hidden, and the
model says what stood there (Devlin et al. 2019, section 3.1). Dropout is off, as the masks are never
the same twice (so did Geiping and Goldstein 2022). Every tenth step reads rows of 256 tokens, the
others of 128: so BERT was trained too, to learn the later positions at little cost.

Killed and started again, a training goes on bit for bit, on as many threads. Prepared texts lie in
RUN as well, so another release of a documented library changes nothing half-way.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
)

from course_utils import load_model, load_task
from course_utils.adaptation import drop_questions
from course_utils.adaptation.batches import Batches, step_seed
from course_utils.adaptation.checkpoints import read_checkpoint, save_tensors, write_checkpoint
from course_utils.adaptation.loop import ramp
from course_utils.adaptation.result import adapted_name
from course_utils.adaptation.texts import prepare_sentences
from course_utils.adaptation.weights import copy_into
from course_utils.data import RetrievalTask, load_licences, load_texts
from course_utils.files import refuse_foreign, restored, whole_folder
from course_utils.models.files import no_progress_bars
from course_utils.models.loading import pick_device
from course_utils.models.processor import has_bfloat16

STORED = Path(__file__).parents[1] / "datasets" / "small_bert"
FIELDS = ("medical", "legal", "python-docs", "company-wiki", "everyday")
# Tasks whose questions are kept out of the texts; the other parts of medical ask some of the same.
ASKED = ("medical", "medical/near-synonym", "python-docs", "python-docs/see-also", "company-wiki")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
SHORT, LONG = 128, 256  # tokens in a row
LONG_EVERY = 10  # steps


@dataclass(frozen=True)
class Plan:
    """What is trained, and how; ``rows`` of 128 tokens make a batch."""

    epochs: int = 30
    rows: int = 64
    learning_rate: float = 1e-3
    warmup_share: float = 0.05
    weight_decay: float = 0.01
    save_every: int = 200
    seed: int = 0
    vocabulary: int = 8000
    width: int = 256
    layers: int = 4
    heads: int = 4


# The texts, and their tokens


def questions():
    """Return tasks with every question that a model of the course is asked in a search."""
    names = {x.key: x.name for x in load_licences()}  # what benchmarks/ladder.py asks of legal
    legal = RetrievalTask("legal names", names, names, {key: {key: 1} for key in names})
    return [*map(load_task, ASKED), legal]


def course_texts():
    """Return {field: its texts}, without the questions of any task."""
    tasks = questions()
    return {field: drop_questions(load_texts(field), *tasks) for field in FIELDS}


def train_tokenizer(texts, size):
    """Return a WordPiece tokenizer in lower case of ``size`` pieces; equal texts give equal ids."""

    def plain(model):
        made = Tokenizer(model)
        made.normalizer = normalizers.BertNormalizer(lowercase=True)
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        return made

    raw = plain(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    letters = Counter()
    for text in texts:
        letters.update(raw.normalizer.normalize_str(text))
    # The trainer numbers these in the order of a hash table, another one each time, and ties are
    # broken by number; named beforehand, they have theirs.
    inner = [f"##{letter}" for letter in sorted(letters) if not letter.isspace()]
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*SPECIAL, *inner], show_progress=False
    )
    raw.train_from_iterator(texts, trainer)
    # Built anew from the vocabulary alone: as special tokens, "##a" and so on would match in texts.
    made = plain(models.WordPiece(raw.get_vocab(), unk_token="[UNK]"))  # noqa: S106
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", SPECIAL.index("[CLS]")), ("[SEP]", SPECIAL.index("[SEP]"))],
    )
    names = {f"{token[1:-1].lower()}_token": token for token in SPECIAL}
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=LONG, **names)


def pack(texts, tokenizer):
    """Return the tokens of texts, [SEP] after each, cut into rows (n, 256) without padding.

    Either half of a row begins with [CLS], since any half may be read alone. What does not fill the
    last row is left out.
    """
    pieces = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    stream = np.fromiter(
        (token for piece in pieces for token in (*piece, tokenizer.sep_token_id)), np.int16
    )
    inside = SHORT - 1
    halves = stream[: len(stream) // (2 * inside) * 2 * inside].reshape(-1, inside)
    begin = np.full((len(halves), 1), tokenizer.cls_token_id, np.int16)
    return np.hstack([begin, halves]).reshape(-1, LONG)


def divide(rows, seed):
    """Return the rows to train on, and 1 % of them, at least one, to look at alone."""
    order = np.random.default_rng(seed).permutation(len(rows))
    held_out = max(1, len(rows) // 100)
    return rows[np.sort(order[held_out:])], rows[np.sort(order[:held_out])]


def prepare(folder, fields, plan):
    """Return (tokenizer, rows, counts) of a run: read from its folder, or made and kept there.

    ``fields`` is a function that returns {field: texts}.
    """
    place = restored(Path(folder) / "prepared")
    if not place.exists():
        given = fields()
        texts = [text for of_field in given.values() for text in of_field]
        tokenizer = train_tokenizer(texts, plan.vocabulary)
        with whole_folder(place) as fresh:
            tokenizer.save_pretrained(str(fresh))
            rows = torch.from_numpy(pack(texts, tokenizer))
            save_tensors({"rows": rows}, fresh / "rows.safetensors")
            counts = {field: len(of_field) for field, of_field in given.items()}
            (fresh / "counts.json").write_text(json.dumps(counts), "utf-8")
    rows = load_file(place / "rows.safetensors")["rows"].numpy()
    counts = json.loads((place / "counts.json").read_text("utf-8"))
    return PreTrainedTokenizerFast.from_pretrained(str(place), local_files_only=True), rows, counts


# Masking


class Masking:
    """The loss of saying what stood at hidden places, of a ``BertForMaskedLM``."""

    def __init__(self, model, tokenizer):
        self.model, self.device = model, model.device
        self.special = torch.tensor(tokenizer.all_special_ids)
        self.hide = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
        self.bfloat16 = has_bfloat16(self.device)

    def __call__(self, ids, seed, attention_mask=None):
        """Return the mean loss over the hidden places of ``ids`` (b, t), and their number.

        Which are hidden follows from the seed alone, so a run can be taken up anywhere.
        """
        self.hide.generator = torch.Generator().manual_seed(seed)
        special = torch.isin(ids, self.special)
        damaged, labels = self.hide.torch_mask_tokens(ids.clone(), special_tokens_mask=special)
        hidden = (labels != -100).to(self.device)
        truth = labels.to(self.device)[hidden]
        with ExitStack() as stack:
            stack.enter_context(
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)
            )
            if self.bfloat16 and self.device.type == "cpu":  # as in adaptation/objective.py
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            states = self.model.bert(damaged.to(self.device), attention_mask).last_hidden_state
            # Only these are compared with the whole vocabulary: a seventh of the work.
            logits = self.model.cls(states[hidden])
        loss = torch.nn.functional.cross_entropy(logits.float(), truth, reduction="sum")
        return loss / max(1, len(truth)), len(truth)

    def mean(self, rows, seed):
        """Return the mean loss over rows (n, t), every time with the same places hidden."""
        total = places = 0
        with torch.no_grad():
            for first in range(0, len(rows), 64):
                part = torch.from_numpy(rows[first : first + 64].astype(np.int64))
                loss, hidden = self(part, seed + first)
                total, places = total + loss.item() * hidden, places + hidden
        return total / max(1, places)


def optimise(optimiser, loss, peak, factor):
    """Take one step down the loss, its gradient cut at length 1, at ``factor`` of the peak rate."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    for group in optimiser.param_groups:
        group["lr"] = peak * factor
    optimiser.step()


def make_model(plan):
    """Return a ``BertForMaskedLM`` with random weights that follow from the plan's seed."""
    config = BertConfig(
        vocab_size=plan.vocabulary, hidden_size=plan.width, num_hidden_layers=plan.layers,
        num_attention_heads=plan.heads, intermediate_size=4 * plan.width,
        max_position_embeddings=LONG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=SPECIAL.index("[PAD]"), tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        return BertForMaskedLM(config).eval()


# From scratch


def pretrain(folder, fields=course_texts, plan=None, *, on_step=None, say=print):
    """Train from the last checkpoint in ``folder``, or from scratch; return the model and its history.

    The history has a row for each epoch: mean loss of its steps, loss on the rows held out, seconds of
    its steps. ``on_step`` is called with the number of each step that is done.
    """
    plan = plan or Plan()
    tokenizer, rows, _ = prepare(folder, fields, plan)
    identity = {"plan": asdict(plan), "rows": hashlib.sha256(rows.tobytes()).hexdigest()}
    rows, held_out = divide(rows, plan.seed)
    model = make_model(plan).to(pick_device())
    weights = dict(model.named_parameters())
    optimiser = torch.optim.AdamW(weights.values(), weight_decay=plan.weight_decay, fused=True)
    loss_of = Masking(model, tokenizer)
    batches = Batches(np.full(len(rows), LONG), max(1, plan.rows * SHORT // LONG), plan.seed)
    steps, step = plan.epochs * len(batches), 0
    epoch = {"loss": 0.0, "seconds": 0.0}  # of the one that runs

    kept = read_checkpoint(folder)
    if kept is not None:
        facts, tensors = kept
        if facts["run"] != identity:
            raise ValueError(
                f"{folder} holds a training with another plan or other texts: {facts['run']}. Give "
                "its options, or another folder."
            )
        step, history, epoch = facts["step"], facts["history"], facts["epoch"]
        copy_into(weights, tensors["weights"])
        for name, held in tensors["optimiser"].items():
            weight, slot = name.rsplit("|", 1)
            optimiser.state[weights[weight]][slot] = held.to(model.device)
    else:
        history = [{"epoch": 0, "step": 0, "held_out": loss_of.mean(held_out, plan.seed)}]
        say(f"{steps} steps of {plan.rows * SHORT} tokens; held out: {history[0]['held_out']:.3f}")

    while step < steps:
        began = time.perf_counter()
        batch = torch.from_numpy(rows[batches.rows(step)].astype(np.int64))
        if step % LONG_EVERY != LONG_EVERY - 1:
            batch = batch.view(-1, SHORT)
        loss, _ = loss_of(batch, step_seed(plan.seed, step))
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss.item()} at step {step + 1}. Begin anew in another folder, with a "
                "lower learning rate."
            )
        optimise(optimiser, loss, plan.learning_rate, ramp(step, steps, plan.warmup_share))
        step += 1
        epoch["loss"] += loss.item() / len(batches)
        epoch["seconds"] += time.perf_counter() - began
        if step % len(batches) == 0:
            held_out_loss = loss_of.mean(held_out, plan.seed)
            done = step // len(batches)
            history.append({"epoch": done, "step": step, "held_out": held_out_loss, **epoch})
            say(
                f"epoch {done} of {plan.epochs}: loss {epoch['loss']:.3f}, held out "
                f"{held_out_loss:.3f}, {epoch['seconds']:.0f} seconds"
            )
            epoch = {"loss": 0.0, "seconds": 0.0}
        if step % plan.save_every == 0 or step == steps:
            remembered = {
                f"{name}|{slot}": held
                for name, weight in weights.items()
                for slot, held in optimiser.state[weight].items()
            }
            tensors = {"weights": weights, "optimiser": remembered}
            facts = {
                "run": identity, "history": history, "epoch": epoch,
                "threads": torch.get_num_threads(),
            }  # fmt: skip
            write_checkpoint(folder, step, tensors, facts)
        if on_step:
            on_step(step)
    return model, history


# The folder that others load


def export(folder, target=STORED):
    """Write the model of a run's last checkpoint as a folder that ``load_model`` reads; return its path.

    Weights are stored in float16 and loaded in float32. ``mlm_head.safetensors`` holds what masking
    needs beside the encoder, and ``training.json`` what the card was written from.
    """
    kept = read_checkpoint(folder)
    if kept is None:
        raise FileNotFoundError(f"{folder} holds no checkpoint yet. Train into it first.")
    facts, tensors = kept
    plan = Plan(**facts["run"]["plan"])
    tokenizer, rows, counts = prepare(folder, course_texts, plan)
    masked = make_model(plan)
    copy_into(dict(masked.named_parameters()), tensors["weights"])

    # BertModel has a layer that masking does not train. Left out, it would be drawn at each loading.
    encoder = BertModel(masked.config).requires_grad_(False)
    encoder.load_state_dict(masked.bert.state_dict(), strict=False)
    for weight in encoder.pooler.parameters():
        weight.zero_()

    told = {
        "plan": asdict(plan), "texts": counts, "tokens": rows.size, "steps": facts["step"],
        "history": facts["history"], "parameters": sum(w.numel() for w in masked.parameters()),
        "minutes": sum(row.get("seconds", 0) for row in [*facts["history"], facts["epoch"]]) / 60,
        "threads": facts["threads"],
        "held_out": Masking(masked, tokenizer).mean(divide(rows, plan.seed)[1], plan.seed),
    }  # fmt: skip
    target = refuse_foreign(target, "modules.json", "model")
    with no_progress_bars(), whole_folder(target) as fresh, tempfile.TemporaryDirectory() as parts:
        encoder.half().save_pretrained(parts)
        tokenizer.save_pretrained(parts)
        first = Transformer(parts, max_seq_length=LONG)
        whole = SentenceTransformer(modules=[first, Pooling(plan.width, "mean")], device="cpu")
        whole.half().save_pretrained(str(fresh), create_model_card=False)
        # What is written here, transformers loads the weights in, whatever they are stored in.
        config = json.loads((fresh / "config.json").read_text("utf-8")) | {"dtype": "float32"}
        (fresh / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        head = masked.cls.predictions
        stored = {f"transform.{name}": w for name, w in head.transform.state_dict().items()}
        stored = {name: w.half() for name, w in (stored | {"bias": head.bias.detach()}).items()}
        save_tensors(stored, fresh / "mlm_head.safetensors")
        (fresh / "training.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
        (fresh / "README.md").write_text(card(told), "utf-8", newline="\n")
    return target


def card(told):
    """Return the page that lies beside the weights."""
    texts = ",\n  ".join(f"`{field}` {count:,}" for field, count in told["texts"].items())
    plan, last = told["plan"], told["history"][-1]
    return f"""# A small BERT, trained by masking alone

A language model that nobody tuned for similarity, to begin from where TSDAE is tried. It was trained by
masking alone and is not for use.

- **Model** BERT with {plan["layers"]} layers, {plan["width"]} numbers a vector and {plan["heads"]} heads; {told["parameters"]:,} weights, stored in
  float16. Mean pooling. WordPiece in lower case, {plan["vocabulary"]:,} pieces, trained on the same texts.
- **Texts** without the questions of any retrieval task, by their names for `load_texts`:
  {texts};
  {told["tokens"]:,} tokens in all, 1 % of the rows held out.
- **Training** from random weights, seed {plan["seed"]}: {told["steps"]:,} steps of {plan["rows"] * SHORT:,} tokens; of {plan["epochs"]} epochs
  planned {last["epoch"]} are done. AdamW, rate {plan["learning_rate"]:g}, 15 % of the tokens hidden, no dropout. {told["minutes"]:.0f} minutes,
  on {told["threads"]} thread{"s" * (told["threads"] > 1)} at the end and while the processor did other work too.
- **Loss** {told["held_out"]:.3f} on the rows held out, where random weights had {told["history"][0]["held_out"]:.3f}.
  `training.json` has every epoch.
- **Made by** `benchmarks/small_bert.py`, which also holds this page to the weights. With
  `mlm_head.safetensors`, the rest of the masked-language model, masking can go on.
- **Licence** MIT for the weights, as for the course. The texts are not in here, and their licences
  stand in [datasets/README.md](../README.md): the Human Phenotype Ontology (release 2025-01-16;
  human-phenotype-ontology.org), ScanCode LicenseDB (CC BY 4.0, nexB Inc.), the docstrings of numpy,
  scipy, pandas, scikit-learn, matplotlib and torch, the course's own wiki (CC BY 4.0), and news texts
  that come with gensim. Their content was read unaltered but for capitals.
- **Caveats** it has read a few thousand pages and knows only how these are worded.
"""


def load_masked(folder=STORED, *, device=None):
    """Return (embedder, ``BertForMaskedLM``) of a folder that ``export`` wrote; they share the encoder."""
    embedder = load_model(folder, device=device)
    encoder = embedder[0].auto_model
    with torch.random.fork_rng():  # weights that are replaced below
        masked = BertForMaskedLM(encoder.config).to(encoder.device)
    masked.bert, head = encoder, masked.cls.predictions
    head.decoder.weight, head.decoder.bias = encoder.embeddings.word_embeddings.weight, head.bias
    stored = load_file(Path(folder) / "mlm_head.safetensors", device=str(encoder.device))
    with torch.no_grad():
        head.bias.copy_(stored.pop("bias"))
    head.transform.load_state_dict({n.removeprefix("transform."): w for n, w in stored.items()})
    return embedder, masked.eval()


def train_mlm(
    folder,
    sentences,
    steps,
    *,
    learning_rate=2e-4,
    batch_size=32,
    max_tokens=64,
    seed=0,
    device=None,
):
    """Return the small BERT in ``folder`` after ``steps`` more steps of masking, as an embedder.

    A step takes ``batch_size`` sentences of like length, cut after ``max_tokens`` tokens, in the same
    batches as ``train_tsdae`` with this seed.
    """
    embedder, masked = load_masked(folder, device=device)
    embedder.model_card_data.model_name = adapted_name(embedder)
    texts = prepare_sentences(sentences, embedder.tokenizer, max_tokens, warn=False)
    batches = Batches(texts.lengths, batch_size, seed)
    loss_of = Masking(masked, embedder.tokenizer)
    weights = [w for name, w in masked.named_parameters() if "pooler" not in name]
    optimiser = torch.optim.AdamW(weights, weight_decay=0.0, fused=True)
    for step in range(steps):
        tokens = embedder.tokenizer(
            [texts.rows[row] for row in batches.rows(step)],
            padding=True,
            truncation=True,
            max_length=max_tokens,
            return_tensors="pt",
        )
        attention_mask = tokens["attention_mask"].to(masked.device)
        loss, _ = loss_of(tokens["input_ids"], step_seed(seed, step), attention_mask)
        optimise(optimiser, loss, learning_rate, ramp(step, steps, 0.1))
    return embedder


def check(folder=STORED):
    """Print what the card says and what the weights do today; fail where they are far apart."""
    if not (folder / "training.json").exists():
        print(f"{folder.name} is not here. Make it: --folder RUN, then --folder RUN --export.")
        return
    told = json.loads((folder / "training.json").read_text("utf-8"))
    embedder, masked = load_masked(folder)
    texts = [text for of_field in course_texts().values() for text in of_field]
    _, held_out = divide(pack(texts, embedder.tokenizer), told["plan"]["seed"])
    found = Masking(masked, embedder.tokenizer).mean(held_out, told["plan"]["seed"])
    print(
        f"{told['steps']} steps, {told['minutes']:.0f} minutes, {told['history'][-1]['epoch']} epochs"
    )
    print(f"loss on the rows held out: card {told['held_out']:.3f}, weights {found:.3f}")
    # Other versions of the documented libraries give other rows.
    assert abs(found - told["held_out"]) < 0.1, "the card does not fit the weights"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, help="where the training is kept")
    parser.add_argument("--epochs", type=int, default=Plan.epochs)
    parser.add_argument("--export", action="store_true", help="do not train, write what is there")
    options = parser.parse_args()
    if options.folder is None:
        check()
    else:
        if not options.export:
            pretrain(options.folder, plan=Plan(epochs=options.epochs))
        print(export(options.folder))
