"""What a model with roles loses when queries and documents are encoded alike.

    python benchmarks/roles.py

multilingual-e5-small in four bits (extra ``multilingual``) on the company wiki: MRR@10 with the
prompt for queries before questions and that for documents before pages, and with one prompt before
both; the difference with its paired 95 % interval, questions with a relevant page in common redrawn
together. No claim is made: it is measured.
"""

from course_utils import as_embedder, compare, evaluate, load_model, load_task
from course_utils.metrics import query_clusters


def main():
    model, task = load_model("multilingual-e5-small-q4"), load_task("company-wiki")
    roles = evaluate(model, task, name="with roles", show_progress_bar=False)
    alike = {
        f"{words} before both": evaluate(
            as_embedder(function), task, name=f"{words} before both", show_progress_bar=False
        )
        for words, function in (
            ("query: ", model.encode_query),
            ("passage: ", model.encode_document),
        )
    }
    print(f"multilingual-e5-small-q4 on {task}")
    clusters = query_clusters(task.qrels)
    for name, evaluation in {"with roles": roles, **alike}.items():
        row = evaluation.summary(clusters=clusters).loc["mrr@10"]
        print(f"{name:22} MRR@10 {row['mean']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
    for name, evaluation in alike.items():
        row = compare(evaluation, roles, clusters=clusters).table.loc["mrr@10"]
        print(
            f"roles less {name!r}: {row['difference']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}], "
            f"p = {row['p_value']:.4f}, {row['n']} questions"
        )


if __name__ == "__main__":
    main()
