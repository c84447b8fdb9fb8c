"""Documents for the record: what was said about a lesion, by which model, under which thresholds, and its limits."""
