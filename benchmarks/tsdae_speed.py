"""How fast a TSDAE step is beside sentence-transformers' DenoisingAutoEncoderLoss.

    python benchmarks/tsdae_speed.py [--steps 4] [--repeats 2]

Three ways to train all-MiniLM-L6-v2 on the same definitions of clinical terms, 32 at a time, cut at
64 tokens, 60 % of the words deleted, all weights trained by the same AdamW (the fused one, which both
library and course use by default), dropout off:

- library: DenoisingAutoEncoderLoss, encoder and decoder tied;
- exact: ExactDecoder, which computes the same loss, on the same batches;
- default: what TSDAEConfig() is, with the encoder training: LightDecoder of one layer, logits over
  the corpus's own vocabulary, batches of texts of like length.

Each runs in a process of its own, so that each has a peak of memory of its own; they take turns
step by step, so that whatever else the machine does meets all alike, and of each step the shortest
of its repeats counts, since other work can only lengthen it. A first step, untimed, fills the
optimiser's state. The share of the machine's matrix products is of the floating-point operations
that each way does, so it is no measure of speed: the library also does some that nobody needs. The program fails if a claim does not hold: exact at least 1.5 times as fast
as the library, default at least 4 times, and neither with a higher peak. It takes about a minute.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

WAYS = ("library", "exact", "default")
BATCH, MAX_TOKENS = 32, 64


def worker(way, steps, folder, pipe):
    """Train one step for each number that comes through the pipe, and send what it took."""
    import resource
    import warnings

    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.utils import logging

    from course_utils import load_model
    from course_utils.adaptation.batches import Batches
    from course_utils.adaptation.decoder import make_decoder, sentence_vector
    from course_utils.adaptation.noise import add_noise
    from course_utils.data import load_texts

    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    model = load_model(folder, device="cpu")
    corpus = load_texts("medical")
    chosen = np.random.default_rng(0).choice(len(corpus), steps * BATCH, replace=False)
    texts = [corpus[row] for row in chosen]
    damaged = add_noise(texts)

    def tokens(texts):
        options = {"padding": True, "truncation": True, "max_length": MAX_TOKENS}
        return model.tokenizer(texts, return_tensors="pt", **options)

    if way == "library":
        from sentence_transformers.sentence_transformer.losses import DenoisingAutoEncoderLoss

        decoder = DenoisingAutoEncoderLoss(model, tie_encoder_decoder=True)
        trained = decoder

        def loss_of(features, target):
            return decoder([dict(features), dict(target)], None)
    else:
        vocabulary = None
        if way == "default":
            ids = model.tokenizer(corpus, truncation=True, max_length=MAX_TOKENS)["input_ids"]
            vocabulary = torch.tensor(sorted({token for text in ids for token in text}))
        kind = "light" if way == "default" else "exact"
        decoder = make_decoder(model, kind, vocabulary=vocabulary)
        trained = torch.nn.ModuleList([model, decoder])

        def loss_of(features, target):
            vector = sentence_vector(model, features)
            return decoder(vector, target["input_ids"], target["attention_mask"])

    lengths = [len(ids) for ids in model.tokenizer(texts)["input_ids"]]
    batches = Batches(lengths if way == "default" else [0] * len(texts), BATCH, seed=0)
    trained.eval()
    optimiser = torch.optim.AdamW(trained.parameters(), lr=3e-5, fused=True)

    def train(step):
        rows = batches.rows(step)
        features, target = (tokens([part[row] for row in rows]) for part in (damaged, texts))
        optimiser.zero_grad()
        loss_of(features, target).backward()
        torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimiser.step()

    def matmul_rate():
        a = torch.randn(2048, 2048)
        began = time.perf_counter()
        a @ a
        return 2 * 2048**3 / (time.perf_counter() - began)

    train(0)
    pipe.send("ready")
    while (step := pipe.recv()) is not None:
        # Counting costs some microseconds an operation, the same for all three.
        with FlopCounterMode(display=False) as counter:
            began = time.perf_counter()
            train(step)
            seconds = time.perf_counter() - began
        rate = max(matmul_rate() for _ in range(3)) if way == "library" else 0
        pipe.send((seconds, counter.get_total_flops(), rate))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def measure(steps, repeats, folder):
    """Return for each way the (seconds, FLOPs, matmul rate) of each step, and its peak of bytes."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for way in WAYS:
        pipes[way], theirs = context.Pipe()
        processes.append(context.Process(target=worker, args=(way, steps, folder, theirs)))
        processes[-1].start()
        theirs.close()  # so that a worker that fails is an end of file here, not silence
    for way in WAYS:
        pipes[way].recv()
    rounds = {way: [[] for _ in range(steps)] for way in WAYS}
    for turn in range(steps * repeats):
        for way in WAYS:
            pipes[way].send(turn % steps)
            rounds[way][turn % steps].append(pipes[way].recv())
    for way in WAYS:
        pipes[way].send(None)
    peaks = {way: pipes[way].recv() for way in WAYS}
    for process in processes:
        process.join()
    return {way: [min(turns) for turns in rounds[way]] for way in WAYS}, peaks


def save_model(folder):
    """Save the packaged model where the library, which reads its decoder from a path, finds it."""
    from course_utils import load_model

    load_model(device="cpu").save(folder)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=4)
    options.add_argument("--repeats", type=int, default=2)
    options = options.parse_args()
    steps = options.steps
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: a process that loaded torch would pass its peak on to the others.
        saving = multiprocessing.get_context("spawn").Process(target=save_model, args=(folder,))
        saving.start()
        saving.join()
        rounds, peaks = measure(steps, options.repeats, folder)

    matmul = statistics.median(rate for _, _, rate in rounds["library"])
    print(f"{steps} steps of {BATCH} texts each; matrix products here: {matmul / 1e9:.0f} GFLOP/s")
    print(f"{'':8} texts/s  GFLOP/step  GFLOP/s  share of matmul  peak MB  times the library")
    speed = {}
    for way in WAYS:
        seconds = sum(took for took, _, _ in rounds[way])
        flops = sum(count for _, count, _ in rounds[way])
        speed[way] = steps * BATCH / seconds
        print(
            f"{way:8} {speed[way]:7.1f}  {flops / steps / 1e9:10.0f}  {flops / seconds / 1e9:7.0f}"
            f"  {flops / seconds / matmul:14.0%}  {peaks[way] / 1e6:8.0f}"
            f"  {speed[way] / speed['library']:10.2f}"
        )
    claims = {
        "exact at least 1.5 times as fast": speed["exact"] >= 1.5 * speed["library"],
        "default at least 4 times as fast": speed["default"] >= 4 * speed["library"],
        "no higher peak of memory": max(peaks["exact"], peaks["default"]) <= peaks["library"],
    }
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
