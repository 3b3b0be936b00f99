"""What embedding texts costs on one's own machine and through an API, with a calculator."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import TYPE_CHECKING

from course_utils.widgets.common import (
    controls,
    duration,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)

if TYPE_CHECKING:
    from ipywidgets import VBox

HOURS_A_MONTH = 730
SECONDS_A_MONTH = HOURS_A_MONTH * 3600


@dataclass(frozen=True)
class Bill:
    """One side of the comparison; money in whatever currency the prices were given in."""

    indexing_seconds: float
    indexing_cost: float
    monthly_cost: float
    latency_ms: float


@dataclass(frozen=True)
class CostComparison:
    """Both bills, and where they meet.

    ``machines`` is how many machines the month's queries need, ``break_even_queries`` how many
    queries a month cost the same on one machine of one's own and by API; infinite if one machine
    cannot answer that many.
    """

    local: Bill
    api: Bill
    machines: int
    break_even_queries: float


def rented_machine(price_per_hour: float) -> float:
    """Return what a rented machine that is always on costs a month (730 hours).

    >>> rented_machine(0.5)
    365.0
    """
    return price_per_hour * HOURS_A_MONTH


def owned_machine(price: float, *, years: float, watts: float, price_per_kwh: float) -> float:
    """Return what a bought machine that is always on costs a month: part of its price, and power.

    Raises ``ValueError`` if it is to last no time at all.

    >>> round(owned_machine(1200, years=4, watts=100, price_per_kwh=0.30), 2)
    46.9
    """
    if years <= 0:
        raise ValueError(f"The machine is to last {years} years: give more than 0.")
    return price / (years * 12) + watts / 1000 * HOURS_A_MONTH * price_per_kwh


def local_vs_api(
    *,
    texts: float,
    tokens_per_text: float,
    queries_per_month: float,
    tokens_per_query: float,
    price_per_million_tokens: float,
    api_latency_ms: float,
    local_texts_per_second: float,
    local_latency_ms: float,
    machine_per_month: float,
    texts_per_request: float = 100,
) -> CostComparison:
    """Return what a first indexing and a month of queries cost and take, locally and by API.

    Times: latencies in milliseconds a query, ``local_texts_per_second`` when encoding in batches.
    The API is taken to receive ``texts_per_request`` texts at a time, one request after another,
    and to answer each within its latency. A machine answers one query at a time; where the month's
    queries are more than it can answer, further machines are counted. The first indexing is charged
    at the machine's price for the time it takes.

    Raises ``ValueError`` for a negative amount, and a rate or latency that divides and is not above
    0.

    >>> costs = local_vs_api(
    ...     texts=100_000, tokens_per_text=200, queries_per_month=1_000_000, tokens_per_query=12,
    ...     price_per_million_tokens=0.10, api_latency_ms=150, local_texts_per_second=200,
    ...     local_latency_ms=10, machine_per_month=365)
    >>> costs.api.indexing_cost, round(costs.api.monthly_cost, 2), costs.local.indexing_seconds
    (2.0, 1.2, 500.0)
    """
    given = dict(locals())
    for name, value in given.items():
        if value < 0:
            raise ValueError(f"{name} is {value}: it cannot be below 0.")
    for name in ("local_texts_per_second", "local_latency_ms", "texts_per_request"):
        if not given[name] > 0:
            raise ValueError(f"{name} is {given[name]}: it must be above 0.")

    indexing_seconds = texts / local_texts_per_second
    capacity = SECONDS_A_MONTH * 1000 / local_latency_ms
    machines = max(1, ceil(queries_per_month / capacity))
    local = Bill(
        indexing_seconds=indexing_seconds,
        indexing_cost=machine_per_month * indexing_seconds / SECONDS_A_MONTH,
        monthly_cost=machines * machine_per_month,
        latency_ms=local_latency_ms,
    )

    price_per_token = price_per_million_tokens / 1_000_000
    price_per_query = tokens_per_query * price_per_token
    api = Bill(
        indexing_seconds=ceil(texts / texts_per_request) * api_latency_ms / 1000,
        indexing_cost=texts * tokens_per_text * price_per_token,
        monthly_cost=queries_per_month * price_per_query,
        latency_ms=api_latency_ms,
    )

    meet = machine_per_month / price_per_query if price_per_query else inf
    # Beyond what one machine can answer every further machine costs as much again, so a price that
    # is not reached with one is never reached.
    return CostComparison(local, api, machines, meet if meet <= capacity else inf)


def cost_calculator(
    *, local_texts_per_second: float = 200.0, local_latency_ms: float = 15.0
) -> VBox:
    """Return a box that compares one's own machine with an API: its inputs and ``.results``.

    ``local_texts_per_second`` and ``local_latency_ms`` are what the lesson measured on this
    machine; every other number starts at a round assumption for the learner to replace. Inputs:
    ``.texts``, ``.tokens_per_text``, ``.queries_per_month``, ``.tokens_per_query``,
    ``.price_per_million_tokens``, ``.api_latency_ms``, ``.local_texts_per_second``,
    ``.local_latency_ms``, ``.machine`` ("rented" or "owned"), ``.price_per_hour``, ``.price``,
    ``.years``, ``.watts``, ``.price_per_kwh``.
    """
    ipywidgets = controls()

    def number(description, value, *, least=0.0):
        return ipywidgets.BoundedFloatText(
            value=value,
            min=least,
            max=1e12,
            description=description,
            style={"description_width": "17em"},
            layout={"width": "27em"},
        )

    amounts = {
        "texts": number("Texts to index", 100_000),
        "tokens_per_text": number("Tokens per text", 200),
        "queries_per_month": number("Queries a month", 1_000_000),
        "tokens_per_query": number("Tokens per query", 12),
        "price_per_million_tokens": number("API price per million tokens", 0.10),
        "api_latency_ms": number("API latency (ms)", 150),
        "local_texts_per_second": number(
            "Local texts per second", local_texts_per_second, least=1e-3
        ),
        "local_latency_ms": number("Local latency (ms)", local_latency_ms, least=1e-3),
    }
    machine = ipywidgets.Dropdown(
        options=["rented", "owned"],
        description="Local machine",
        style={"description_width": "17em"},
        layout={"width": "27em"},
    )
    rent = {"price_per_hour": number("Rented: price per hour", 0.50)}
    own = {
        "price": number("Owned: purchase price", 1200),
        "years": number("Owned: years of use", 4, least=0.1),
        "watts": number("Owned: power (watts)", 60),
        "price_per_kwh": number("Owned: price per kWh", 0.30),
    }
    results = ipywidgets.HTML()

    def redraw():
        for parts, choice in ((rent, "rented"), (own, "owned")):
            for part in parts.values():
                part.layout.display = None if machine.value == choice else "none"
        if machine.value == "rented":
            monthly = rented_machine(rent["price_per_hour"].value)
        else:
            monthly = owned_machine(**{name: part.value for name, part in own.items()})
        values = {name: part.value for name, part in amounts.items()}
        compared = local_vs_api(**values, machine_per_month=monthly)
        results.value = region("Costs and times", _cost_table(compared))

    inputs = {**amounts, "machine": machine, **rent, **own}
    box = labelled(
        "Your own machine or an API?",
        "Every price is an assumption to overwrite, in your own currency. Look for the number of "
        "queries at which the two cost the same, and whether you are near it.",
        **inputs,
        results=results,
    )
    columns = [
        ipywidgets.VBox(list(amounts.values())),
        ipywidgets.VBox([machine, *rent.values(), *own.values()]),
    ]
    box.children = (box.children[0], ipywidgets.HBox(columns), results)
    redraw_on_change(redraw, *inputs.values())
    return box


def _cost_table(compared):
    local, api = compared.local, compared.api
    rows = [
        (
            "First indexing, time",
            duration(local.indexing_seconds),
            duration(api.indexing_seconds),
        ),
        ("First indexing, cost", f"{local.indexing_cost:,.2f}", f"{api.indexing_cost:,.2f}"),
        ("Queries, cost a month", f"{local.monthly_cost:,.2f}", f"{api.monthly_cost:,.2f}"),
        ("Latency of a query", f"{local.latency_ms:,.0f} ms", f"{api.latency_ms:,.0f} ms"),
        ("Machines needed", f"{compared.machines}", "none"),
    ]
    body = "".join(
        '<tr><th scope="row" style="text-align:start;font-weight:normal;padding-right:1.5em">'
        f'{name}</th><td style="text-align:end;padding:.15em 1em">{here}</td>'
        f'<td style="text-align:end;padding:.15em 1em">{there}</td></tr>'
        for name, here, there in rows
    )
    if isfinite(compared.break_even_queries):
        told = (
            "Both cost the same a month at "
            f"{compared.break_even_queries:,.0f} queries; above that, and up to what one machine can "
            "answer, your own costs less."
        )
    else:
        told = (
            "At these prices the API costs less a month at any number of queries; then "
            "other reasons must count, for example that the texts stay with you."
        )
    return (
        '<table><tr><td></td><th scope="col" style="padding:0 1em">Own machine</th>'
        f'<th scope="col" style="padding:0 1em">API</th></tr>{body}</table>{paragraph(told)}'
    )
