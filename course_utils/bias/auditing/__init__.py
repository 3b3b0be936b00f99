"""The audit: a battery of association tests and probes on a model, written down as a report."""
