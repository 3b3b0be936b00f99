"""How many queries a comparison needs follows its formula; shared documents tie queries together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from course_utils.metrics import queries_needed, query_clusters


@pytest.mark.parametrize("effect", [0.1, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("power", [0.8, 0.95])
def test_the_number_of_queries_is_that_of_the_exact_t_test(effect, power):
    def exact_power(n):
        critical = stats.t.ppf(0.975, n - 1)
        shifted = stats.nct(n - 1, effect * np.sqrt(n))
        return shifted.sf(critical) + shifted.cdf(-critical)

    unit = np.array([-1.0, 1.0]) / np.sqrt(2)  # standard deviation 1
    n = queries_needed(unit, effect, power=power)
    fewest = next(m for m in range(max(2, n - 3), n + 4) if exact_power(m) >= power)
    assert abs(n - fewest) <= 1


def test_half_the_difference_takes_four_times_the_queries():
    differences = np.random.default_rng(0).standard_normal(200)
    assert queries_needed(differences, 0.01) == pytest.approx(
        4 * queries_needed(differences, 0.02), rel=0.001
    )


def test_only_scatter_and_size_count_not_the_pilots_own_mean_or_the_sign():
    differences = np.random.default_rng(1).standard_normal(50)
    needed = queries_needed(differences, 0.1)
    assert queries_needed(differences + 5, 0.1) == needed
    assert queries_needed(-differences, -0.1) == needed
    assert queries_needed(differences, 0.1, power=0.9) > needed
    assert queries_needed(differences, 0.1, alpha=0.01) > needed


@pytest.mark.parametrize(
    ("differences", "difference", "options", "message"),
    [
        ([0.1, 0.1, 0.1], 0.1, {}, "3 differences do not vary"),
        ([0.1], 0.1, {}, "1 differences do not vary"),
        ([0.1, np.nan], 0.1, {}, r"differences\[1\] is nan"),
        ([0.1, 0.2], 0, {}, "to detect 0 no number"),
        ([0.1, 0.2], 0.1, {"power": 80}, "power 80"),
        ([0.1, 0.2], 0.1, {"power": 0.04}, "alpha is 0.05 and power 0.04"),
    ],
)
def test_what_cannot_be_planned_is_refused(differences, difference, options, message):
    with pytest.raises(ValueError, match=message):
        queries_needed(differences, difference, **options)


QRELS = st.dictionaries(
    st.sampled_from("abcdefg"),
    st.dictionaries(st.sampled_from("aefghij"), st.integers(0, 2), min_size=1, max_size=3),
    min_size=1,
)


@given(QRELS)
def test_queries_are_in_one_cluster_exactly_when_a_chain_of_shared_documents_links_them(qrels):
    names = list(qrels)
    relevant = {q: {d for d, grade in qrels[q].items() if grade > 0} for q in names}
    linked = np.array([[q == r or bool(relevant[q] & relevant[r]) for r in names] for q in names])
    for _ in names:  # follow chains, one link longer each time
        linked = linked @ linked
    found = query_clusters(qrels)
    assert list(found) == names
    for i, q in enumerate(names):
        for j, r in enumerate(names):
            assert (found[q] == found[r]) == linked[i, j]
