"""What `/metrics` shows, in Prometheus' text form; one registry for each router."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Counters:
    """The router's own counters. No label comes from a request: nobody can make them grow."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "sluice_requests_total",
            "Requests by path and status.",
            ("path", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "sluice_answer_seconds",
            "Seconds from request to answer.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.tokens = Counter(
            "sluice_tokens_total", "Tokens answered with.", ("kind",), registry=self._registry
        )
        self.busy = Gauge("sluice_busy", "Requests being answered.", registry=self._registry)
        self.epoch = Gauge(
            "sluice_epoch", "Epoch of the champion that answers.", registry=self._registry
        )
        self.moves = Counter(
            "sluice_moves_total", "Times that the pointer was moved.", registry=self._registry
        )
        self.refused = Gauge(
            "sluice_refused", "1 while the ledger's champion is refused.", registry=self._registry
        )
        self.unwritten = Gauge(
            "sluice_traffic_unwritten_seconds",
            "Seconds since traffic rows could last be written; 0 while they are.",
            registry=self._registry,
        )

    def text(self) -> bytes:
        """All of them, for `/metrics`."""
        return generate_latest(self._registry)
