"""How fast a training step is beside sentence-transformers' DenoisingAutoEncoderLoss, and itself.

    python benchmarks/tsdae_speed.py [--steps 4] [--repeats 2] [--pairs 40]

Three ways to train all-MiniLM-L6-v2 on the same definitions of clinical terms, 32 at a time, cut at
64 tokens, 60 % of the words deleted, all weights trained by the same AdamW (the fused one, which both
library and course use by default), dropout off:

- library: DenoisingAutoEncoderLoss, encoder and decoder tied, in float32, its default;
- exact: ExactDecoder, which computes the same loss, on the same batches;
- default: what TSDAEConfig() is, with the encoder training: LightDecoder, logits over the corpus's
  own vocabulary, batches of texts of like length.

The last two compute in bfloat16 where the processor has it, as training does. Each runs in a process
of its own, so that each has a peak of memory of its own; they take turns step by step, so that
whatever else the machine does meets all alike, and of each step the shortest of its repeats counts,
since other work can only lengthen it. A first step, untimed, fills the optimiser's state. The share
of the machine's matrix products (in float32) is of the floating-point operations that each way does,
so it is no measure of speed: the library also does some that nobody needs.

Then, on a processor with bfloat16, PairsConfig() in float32 and in bfloat16: two whole runs side by
side, each over the same pairs in the same order, again in turns. The ratio is the median over the
steps, and the adapted models are scored on questions that neither has seen.

The program fails if a claim does not hold: exact at least 1.5 times as fast as the library, default
at least 5 times (4 without bfloat16), neither with a higher peak; pairs at least 1.25 times as fast
in bfloat16 as in float32, the scores apart by less than .02 (95 % interval). About five minutes.
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
    from accelerate import Accelerator
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.utils import logging

    from course_utils import load_model
    from course_utils.adaptation import TSDAEConfig, add_noise
    from course_utils.adaptation.batches import Batches
    from course_utils.adaptation.decoder import make_decoder, sentence_vector
    from course_utils.adaptation.denoising import DenoisingObjective
    from course_utils.adaptation.texts import prepare_sentences
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
        config = TSDAEConfig(decoder="light" if way == "default" else "exact")
        known = prepare_sentences(corpus, model.tokenizer, MAX_TOKENS, warn=False)
        objective = DenoisingObjective(model, known, config, MAX_TOKENS, Accelerator(cpu=True))
        model, decoder = objective.encoder, objective.decoder
        if way == "exact":  # among all tokens, as the library's
            decoder = make_decoder(model, "exact")
        trained = torch.nn.ModuleList([model, decoder])

        def loss_of(features, target):
            with objective.precision():
                vector = sentence_vector(model, features).float()
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


def pairs_worker(bfloat16, steps, pipe):
    """Train on pairs, a step for each word that comes through the pipe; send times, then scores."""
    import warnings

    from transformers.utils import logging

    from course_utils import evaluate, load_model
    from course_utils.adaptation import PairsConfig, drop_questions, train_pairs
    from course_utils.data import load_medical_definitions, load_task, load_texts
    from course_utils.data.sentences import split_sentences

    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    model = load_model(device="cpu")
    dev = load_task("medical/no-shared-word").split(586)[0].sample(corpus=2000)
    terms = load_medical_definitions().values()
    pairs = drop_questions([(term, split_sentences(text)[0]) for term, text in terms], dev)

    def take_turns(progress):
        pipe.send(progress.latest["seconds"])
        pipe.recv()

    config = PairsConfig(max_steps=steps, interpolate=None, bfloat16=bfloat16)
    result = train_pairs(
        model, pairs, config, general=load_texts("everyday"), on_progress=take_turns
    )
    pipe.send(evaluate(result, dev).scores["mrr@10"].to_numpy())


def measure_pairs(steps):
    """Return for each precision the seconds of each step, and the score of each question."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, seconds = {}, [], {False: [], True: []}
    for bfloat16 in seconds:
        pipes[bfloat16], theirs = context.Pipe()
        processes.append(context.Process(target=pairs_worker, args=(bfloat16, steps, theirs)))
        processes[-1].start()
        theirs.close()
    for step in range(steps + 1):
        for bfloat16, pipe in pipes.items():
            if step:
                pipe.send("go")
            seconds[bfloat16].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send("done")
    scores = {bfloat16: pipe.recv() for bfloat16, pipe in pipes.items()}
    for process in processes:
        process.join()
    return {bfloat16: took[1:] for bfloat16, took in seconds.items()}, scores


def save_model(folder):
    """Save the packaged model where the library, which reads its decoder from a path, finds it."""
    from course_utils import load_model

    load_model(device="cpu").save(folder)


def pairs_claims(steps):
    """Measure pairs in both precisions, print it, and return what is claimed of it."""
    from course_utils.metrics import paired_test

    seconds, scores = measure_pairs(steps)
    times = [full / short for full, short in zip(seconds[False], seconds[True], strict=True)]
    test = paired_test(scores[False], scores[True])
    print(f"\npairs, {steps} steps of 96: seconds a step (median), MRR@10 on {test.n} questions")
    for bfloat16, name in ((False, "float32"), (True, "bfloat16")):
        took, score = statistics.median(seconds[bfloat16]), scores[bfloat16].mean()
        print(f"{name:8} {took:7.2f}  {score:.4f}")
    print(f"bfloat16 is {statistics.median(times):.2f} times as fast; its score differs by "
          f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})")  # fmt: skip
    return {
        "pairs at least 1.25 times as fast in bfloat16": statistics.median(times) >= 1.25,
        "pairs score alike": max(abs(test.low), abs(test.high)) < 0.02,
    }


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--steps", type=int, default=4)
    options.add_argument("--repeats", type=int, default=2)
    options.add_argument("--pairs", type=int, default=40, help="steps of the runs on pairs")
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

    from course_utils.models.processor import has_bfloat16

    half = has_bfloat16("cpu")
    least = 5 if half else 4
    claims = {
        "exact at least 1.5 times as fast": speed["exact"] >= 1.5 * speed["library"],
        f"default at least {least} times as fast": speed["default"] >= least * speed["library"],
        "no higher peak of memory": max(peaks["exact"], peaks["default"]) <= peaks["library"],
    }
    if half:
        claims |= pairs_claims(options.pairs)
    else:
        print("This processor has no bfloat16: all was computed in float32.")
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
