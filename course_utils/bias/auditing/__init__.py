"""The audit: a battery of association tests and probes, run on a model and written down as a report."""
