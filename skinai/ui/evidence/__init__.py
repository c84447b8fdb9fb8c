"""The sections of the report card, one a file; each has a function ``show(bundle, report)``."""
