"""Uploads stay in memory, and the server asks nobody outside."""

from __future__ import annotations

from starlette.formparsers import MultiPartParser
from streamlit import net_util

from skinai.data.images import MAX_BYTES


def keep_uploads_in_memory() -> None:
    """Stop the server from writing uploads to a temporary file, which it does from 1 MiB on.

    Streamlit takes uploads through Starlette's form parser. An upload needs a running session, so calling this when a
    session's script runs is early enough.
    """
    MultiPartParser.spool_max_size = MAX_BYTES + 1024 * 1024


def ask_nobody_outside() -> None:
    """Stop the server from asking a public service for its own address, which it does to check a foreign origin."""
    net_util.get_external_ip = lambda: None
