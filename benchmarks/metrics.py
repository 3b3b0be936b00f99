"""How fast retrieval is scored beside pytrec_eval, ranx and sentence-transformers' evaluator.

    python benchmarks/metrics.py [--queries 10000] [--ranked 1000] [--documents 100000]
                                 [--vector-queries 1000] [--repeats 3] [--tasks python-docs medical]

Rankings: each query has 1,000 ranked documents of a corpus of 100,000 and ten graded judgements,
half of them of documents that were not found; seven measures at a cut-off of 10. The dictionaries
are those that pytrec_eval takes; building them is nobody's time. ranx is measured on its own types,
built beforehand, and from the dictionaries, both after a first run that compiles; where it is not
installed it is skipped.

Vectors: random unit vectors of 384 dimensions, five relevant documents a query, ours and
InformationRetrievalEvaluator each in a process of its own with the same vectors, so that each has
a peak of memory of its own; every score function is the dot product.

Tasks: what the packaged MiniLM scores on the course's own tasks as a whole, with intervals, beside
the count of InformationRetrievalEvaluator on the same vectors. Encoding the 30,000 texts takes
minutes; ``--tasks`` without a name leaves that out.

All take turns, so that whatever else the machine does meets all alike, and of each the shortest of
its repeats counts, since other work can only lengthen it. The program fails if a claim does not
hold: same values within 1e-9 (of the tasks within 1e-6), from dictionaries at least as fast as the
other libraries from theirs, from vectors at least as fast and within 2 GiB. It takes some minutes
and about 4 GB of memory.
"""

import argparse
import multiprocessing
import os
import sys
import time

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")

MEASURES = ("mrr", "recall", "precision", "success", "map", "r_precision", "ndcg")
DIMENSIONS, RELEVANT, K = 384, 5, 10
# What the others call the same measures, in the same order.
TREC = ("recip_rank", "recall_10", "P_10", "success_10", "map", "Rprec", "ndcg_cut_10")
RANX = ("mrr@10", "recall@10", "precision@10", "hit_rate@10", "map", "r-precision", "ndcg@10")
WAYS = ("course_utils", "sentence-transformers")


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def turns(actions, repeats):
    """Return ``{name: shortest seconds}`` of the actions, measured in alternation."""
    rounds = [{name: seconds(act) for name, act in actions.items()} for _ in range(repeats)]
    return {name: min(taken[name] for taken in rounds) for name in actions}


def rankings(queries, ranked, seed=0):
    """Return scores and documents, (queries, ranked) each, and judgements (10 x queries, 3).

    A ranking steps through a corpus of prime size, so that it meets no document twice. Scores fall
    by whole steps: no two are equal, in single precision or double, so that no tie rule matters.
    """
    corpus = 100_003
    rng = np.random.default_rng(seed)
    start, step = rng.integers(1, corpus, size=(2, queries, 1))
    walk = (start + step * np.arange(ranked + 5)) % corpus
    scores = -np.cumsum(rng.integers(1, 9, size=(queries, ranked)), axis=1) / 2.0**14
    found = np.array([rng.permutation(ranked)[:5] for _ in range(queries)])
    missed = ranked + np.arange(5) + np.zeros_like(found)
    judged = np.take_along_axis(walk, np.concatenate([found, missed], axis=1), axis=1)
    grades = rng.integers(0, 4, size=judged.shape)
    query = np.repeat(np.arange(queries), judged.shape[1])
    judgements = np.column_stack([query, judged.ravel(), grades.ravel()])
    return scores.astype(np.float32), np.ascontiguousarray(walk[:, :ranked]), judgements


def dictionaries(scores, documents, judgements):
    """Return run and qrels, ``{query: {document: number}}``, of the arrays."""
    names = list(map(str, range(100_003)))
    run = {
        str(i): {names[d]: s for d, s in zip(row, values, strict=True)}
        for i, (row, values) in enumerate(zip(documents.tolist(), scores.tolist(), strict=True))
    }
    qrels = {query: {} for query in run}
    for query, document, grade in judgements.tolist():
        qrels[str(query)][names[document]] = grade
    return run, qrels


def trec_table(values):
    """Return pytrec_eval's values as (queries, measures); its reciprocal rank knows no cut-off."""
    table = np.array([[row[name] for name in TREC] for row in values.values()])
    table[:, 0] = np.where(table[:, 0] >= 1 / K - 1e-12, table[:, 0], 0.0)
    return table


def compare_rankings(options):
    """Print the seconds for rankings and return ``{claim: holds}``."""
    import pytrec_eval

    from course_utils.metrics import retrieval_scores

    run, qrels = dictionaries(*rankings(options.queries, options.ranked))
    results = {}

    def keep(name, function, *arguments, **named):
        def action():
            results[name] = function(*arguments, **named)

        return action

    def trec():
        return pytrec_eval.RelevanceEvaluator(qrels, set(TREC)).evaluate(run)

    actions = {
        "course_utils": keep("course_utils", retrieval_scores, run, qrels, k=K, measures=MEASURES),
        "pytrec_eval": keep("pytrec_eval", trec),
    }
    actions |= ranx_actions(keep, run, qrels)
    taken = turns(actions, options.repeats)

    print(
        f"{options.queries:,} queries x {options.ranked:,} ranked documents, {len(MEASURES)} measures"
    )
    for name, value in taken.items():
        print(f"{name:24} {value:8.3f} s  {taken['pytrec_eval'] / value:6.1f} times pytrec_eval")
    ours = results["course_utils"].to_numpy()
    reference = trec_table(results["pytrec_eval"])
    claims = {
        "values equal to pytrec_eval's": np.allclose(ours, reference, rtol=0, atol=1e-9),
        "at least as fast as pytrec_eval": taken["pytrec_eval"] >= taken["course_utils"],
    }
    if "ranx" in taken:
        claims |= {
            "values equal to ranx's": np.allclose(ours, results["ranx, values"], rtol=0, atol=1e-9),
            "at least as fast as ranx from dictionaries": taken["ranx, dictionaries"]
            >= taken["course_utils"],
        }
    return claims


def ranx_actions(keep, run, qrels):
    """Return what to measure of ranx, compiled; nothing where it is not installed."""
    try:
        import ranx
    except ImportError:
        print("ranx is skipped: it is not installed here (pip install ranx).")
        return {}
    wanted = {"metrics": list(RANX), "return_mean": False, "save_results_in_run": False}
    ready = ranx.Qrels(qrels), ranx.Run(run)

    def from_dictionaries():
        return ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), **wanted)

    def by_query():
        # The order of the rows is ranx's own, so the values to compare are looked up by query.
        found = ranx.Run(run)
        ranx.evaluate(ready[0], found, list(RANX))
        return [[found.scores[name][query] for name in RANX] for query in run]

    keep("ranx, values", by_query)()
    actions = {
        "ranx": keep("ranx", ranx.evaluate, *ready, **wanted),
        "ranx, dictionaries": keep("ranx, dictionaries", from_dictionaries),
    }
    for action in actions.values():
        action()  # compiles
    return actions


def vectors(documents, queries, seed=0):
    """Return random unit vectors, queries first, and the rows of the relevant documents.

    A query lies near the mean of its five relevant documents, so that some are found and some not.
    """
    rng = np.random.default_rng(seed)
    corpus = rng.standard_normal((documents, DIMENSIONS), dtype=np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    relevant = np.array([rng.choice(documents, RELEVANT, replace=False) for _ in range(queries)])
    query = 0.5 * corpus[relevant].sum(axis=1)
    query += rng.standard_normal(query.shape, dtype=np.float32) / np.sqrt(DIMENSIONS) * 2
    return query / np.linalg.norm(query, axis=1, keepdims=True), corpus, relevant


def scorer(way, queries, corpus, relevant):
    """Return the function without arguments that gives ``{name: mean}`` the given way."""
    query_ids = [f"q{i}" for i in range(len(queries))]
    corpus_ids = [f"d{i}" for i in range(len(corpus))]
    judged = {
        query: [corpus_ids[d] for d in rows]
        for query, rows in zip(query_ids, relevant.tolist(), strict=True)
    }
    if way == "course_utils":
        from course_utils.metrics.retrieval import retrieval_scores_from_vectors

        qrels = {query: dict.fromkeys(documents, 1) for query, documents in judged.items()}
        measures = ("mrr", "ndcg", "recall", "precision", "success", "map")
        return lambda: retrieval_scores_from_vectors(
            queries, corpus, query_ids, corpus_ids, qrels, K, measures=measures
        ).mean()

    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    given = {"q": torch.from_numpy(queries), "d": torch.from_numpy(corpus)}

    class OfVectors(InformationRetrievalEvaluator):
        def embed_inputs(self, model, sentences, *args, **options):
            # The texts are the ids, of all queries or of one chunk of the corpus.
            first = int(sentences[0][1:])
            return given[sentences[0][0]][first : first + len(sentences)]

    evaluator = OfVectors(
        {query: query for query in query_ids},
        {document: document for document in corpus_ids},
        {query: set(documents) for query, documents in judged.items()},
        score_functions={"dot": dot_score},
    )

    def library():
        found = evaluator.compute_all_metrics(None)["dot"]
        names = {"mrr": "mrr", "ndcg": "ndcg", "recall": "recall", "precision": "precision", "accuracy": "success"}  # fmt: skip
        return {f"{ours}@{K}": found[f"{theirs}@k"][K] for theirs, ours in names.items()}

    return library


def worker(way, documents, queries, pipe):
    """Score once for each message that comes through the pipe, and send seconds and means."""
    import resource

    score = scorer(way, *vectors(documents, queries))
    pipe.send("ready")
    while pipe.recv():
        began = time.perf_counter()
        means = dict(score())
        pipe.send((time.perf_counter() - began, means))
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def compare_vectors(options):
    """Print seconds and peaks for vectors and return ``{claim: holds}``."""
    context = multiprocessing.get_context("spawn")
    pipes, processes, rounds = {}, [], {way: [] for way in WAYS}
    for way in WAYS:
        pipes[way], theirs = context.Pipe()
        arguments = (way, options.documents, options.vector_queries, theirs)
        processes.append(context.Process(target=worker, args=arguments))
        processes[-1].start()
        theirs.close()  # so that a worker that fails is an end of file here, not silence
    for way in WAYS:
        pipes[way].recv()
    for _ in range(options.repeats):
        for way in WAYS:
            pipes[way].send(True)
            rounds[way].append(pipes[way].recv())
    for way in WAYS:
        pipes[way].send(None)
    peaks = {way: pipes[way].recv() for way in WAYS}
    for process in processes:
        process.join()

    print(f"{options.documents:,} documents x {options.vector_queries:,} queries from vectors")
    took = {way: min(taken for taken, _ in rounds[way]) for way in WAYS}
    ours, library = (rounds[way][0][1] for way in WAYS)
    for way in WAYS:
        print(f"{way:24} {took[way]:8.3f} s  peak {peaks[way] / 2**20:7,.0f} MiB")
    print("  ".join(f"{name} {value:.4f}" for name, value in ours.items()))
    return {
        "means equal to InformationRetrievalEvaluator's": all(
            abs(ours[name] - value) < 1e-9 for name, value in library.items()
        ),
        "vectors within 2 GiB": peaks["course_utils"] <= 2 * 2**30,
        "vectors at least as fast as InformationRetrievalEvaluator": took["course_utils"]
        <= took["sentence-transformers"],
    }


class Known:
    """An embedder, and enough of a SentenceTransformer for the evaluator, that looks texts up."""

    def __init__(self, model, texts):
        from course_utils import encode

        self.rows = dict(zip(texts, encode(model, texts), strict=True))

    def encode(self, texts):
        return np.stack([self.rows[text] for text in texts])

    def encode_query(self, texts, **_):
        import torch

        return torch.from_numpy(self.encode(texts))

    encode_document = encode_query


def counted_by_the_library(model, task):
    """Return MRR@10 and Recall@10 by InformationRetrievalEvaluator."""
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    # It orders equal scores by id ascending, the course descending as trec_eval does: numbers in
    # descending order of the ids make the two rules one.
    number = {d: f"{i:08d}" for i, d in enumerate(sorted(task.corpus, reverse=True))}
    evaluator = InformationRetrievalEvaluator(
        task.queries,
        {number[d]: text for d, text in task.corpus.items()},
        {q: {number[d] for d, grade in g.items() if grade > 0} for q, g in task.qrels.items()},
        mrr_at_k=[K],
        precision_recall_at_k=[K],
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    scores = evaluator.compute_all_metrics(model)["cosine"]
    return scores["mrr@k"][K], scores["recall@k"][K]


def compare_tasks(options):
    """Print what MiniLM scores on whole tasks and return ``{claim: holds}``."""
    from course_utils import evaluate, load_model, load_task

    claims = {}
    for name in options.tasks:
        task = load_task(name)
        model = Known(load_model(), [*task.queries.values(), *task.corpus.values()])
        summary = evaluate(model, task).summary()
        mrr, recall = (summary.loc[f"{measure}@{K}"] for measure in ("mrr", "recall"))
        print(
            f"all-MiniLM-L6-v2 on {name}: "
            f"MRR@10 {mrr['mean']:.4f} [{mrr['low']:.4f}, {mrr['high']:.4f}], "
            f"Recall@10 {recall['mean']:.4f} [{recall['low']:.4f}, {recall['high']:.4f}] "
            f"({len(task.queries):,} queries, {len(task.corpus):,} documents, "
            f"{sum(map(len, task.qrels.values())):,} judgements)"
        )
        claims[f"means on {name} equal to InformationRetrievalEvaluator's"] = np.allclose(
            (mrr["mean"], recall["mean"]), counted_by_the_library(model, task), rtol=0, atol=1e-6
        )
    return claims


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--queries", type=int, default=10_000)
    options.add_argument("--ranked", type=int, default=1_000)
    options.add_argument("--documents", type=int, default=100_000)
    options.add_argument("--vector-queries", type=int, default=1_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--tasks", nargs="*", default=["python-docs", "medical"])
    options = options.parse_args()
    # Vectors first: a process that is started hands its own peak of memory on to the new one.
    claims = compare_vectors(options) | compare_rankings(options) | compare_tasks(options)
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
