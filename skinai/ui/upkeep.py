"""What the server does between requests: it lets go of visits that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamlit import config, runtime
from streamlit.runtime.caching.ttl_cache import TTLCache
from streamlit.runtime.memory_session_storage import MemorySessionStorage
from streamlit.runtime.websocket_session_manager import WebsocketSessionManager

_MOST_EVERY_S = 10.0
# Of glibc's malloc.h.
_M_ARENA_MAX = -8


@asynccontextmanager
async def keep_house() -> AsyncIterator[None]:
    """Let go of ended visits inside the ``async with`` block."""
    task = asyncio.create_task(_forget_ended_visits())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _forget_ended_visits() -> None:
    kept_at, searches = time.monotonic(), _count_searches()
    while True:
        await asyncio.sleep(_find_pause_s())
        ended = forget_ended_visits()
        long_ago = time.monotonic() - kept_at >= _MOST_EVERY_S
        if ended or (long_ago and _count_searches() != searches):
            keep_for_good(anew=True)
            kept_at, searches = time.monotonic(), _count_searches()
        if ended:
            give_memory_back()


def _count_searches() -> int:
    """Return how often all garbage was searched for, which Streamlit has done after every run of a script."""
    return int(gc.get_stats()[-1]["collections"])


def share_memory() -> None:
    """Have all threads take memory out of the same two pools; to be called before there are any.

    Each run of a page's script is a thread, and glibc gives up to eight of them a processor a pool of their own, in
    which what a visitor no longer needs stays until that pool is used again.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Give what the process no longer needs back to the system, which glibc does on request only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def keep_for_good(*, anew: bool = False) -> None:
    """Have the search for garbage, which Streamlit begins after every script, pass by all that there is by now.

    It takes 40 ms otherwise for what was loaded, and longer with every visitor.

    Parameters
    ----------
    anew : bool
        Search first through what was passed by until now too: there are visits in it that have ended by now.
    """
    if anew:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def find_longest_kept_s() -> float:
    """Return for how many seconds at most something of a visit is kept that has ended."""
    return float(config.get_option("server.disconnectedSessionTTL")) + _find_pause_s()


def _find_pause_s() -> float:
    return min(config.get_option("server.disconnectedSessionTTL") / 3, _MOST_EVERY_S)


def forget_ended_visits() -> int:
    """Let go of what belongs to visits that can no longer be taken up again: uploads, pictures, state.

    Streamlit keeps a visit whose browser has gone for ``server.disconnectedSessionTTL`` seconds, so that it can come
    back, and after that until some other visitor leaves: a photograph would stay in memory for as long as nobody does.

    Returns
    -------
    int
        How many visits were forgotten.
    """
    manager = getattr(runtime.get_instance(), "_session_mgr", None) if runtime.exists() else None
    if manager is None:  # it is being started
        return 0
    assert isinstance(manager, WebsocketSessionManager)
    storage = manager._session_storage
    assert isinstance(storage, MemorySessionStorage)
    visits = storage._cache
    assert isinstance(visits, TTLCache)
    with manager._storage_lock:
        ended = visits.expire()
    for _, info in ended:
        info.session.shutdown()
    return len(ended)
