"""The HTTP service: pictures in, the answers of the page and of ``predict --json`` out."""
