"""What the packaged MiniLM scores, beside sentence-transformers' own count.

Both sides rank the same vectors, so that any difference would be one of counting. The figures on
the whole sets are those of ``benchmarks/metrics.py``.
"""

import numpy as np
import pytest

from course_utils.data import load_task
from course_utils.encoding.encode import encode
from course_utils.metrics import evaluate


class Known:
    """An embedder, and enough of a SentenceTransformer for the evaluator, that looks texts up."""

    def __init__(self, model, texts):
        self.rows = dict(zip(texts, encode(model, texts), strict=True))

    def encode(self, texts):
        return np.stack([self.rows[text] for text in texts])

    def encode_query(self, texts, **_):
        import torch

        return torch.from_numpy(self.encode(texts))

    encode_document = encode_query


def theirs(model, task):
    """Return MRR@10 and Recall@10 by sentence-transformers' InformationRetrievalEvaluator."""
    from sentence_transformers.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    # Equal scores: recent versions of the evaluator order them by id ascending, older ones in no
    # fixed order, trec_eval and the course descending. Numbering the documents in descending order
    # of their ids makes the two rules one, as far as both sides' products round alike.
    number = {d: f"{i:08d}" for i, d in enumerate(sorted(task.corpus, reverse=True))}
    evaluator = InformationRetrievalEvaluator(
        task.queries,
        {number[d]: text for d, text in task.corpus.items()},
        {q: {number[d] for d, grade in g.items() if grade} for q, g in task.qrels.items()},
        mrr_at_k=[10],
        precision_recall_at_k=[10],
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    scores = evaluator.compute_all_metrics(model)["cosine"]
    return scores["mrr@k"][10], scores["recall@k"][10]


def test_minilm_scores_what_sentence_transformers_counts(minilm):
    task = load_task("medical").sample(queries=200, corpus=600)
    model = Known(minilm, [*task.queries.values(), *task.corpus.values()])
    means = evaluate(model, task).scores.mean()
    found = means["mrr@10"], means["recall@10"]
    assert found == pytest.approx(theirs(model, task), abs=1e-6)
    assert 0.1 < found[0] < found[1] < 0.95, "a set on which the two could differ"
