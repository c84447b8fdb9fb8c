"""From the start of the app's process to the first answer in a browser, and what the process holds in memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np

from benchmarks.pipeline import encode_lesion
from benchmarks.timing import read_memory_mb, wait_until_idle

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
_ANSWER = "Most probable of the seven"


def time_start(*, count: int) -> dict[str, Any]:
    """Start the app so many times, each with a new visitor who uploads a picture as soon as the page is there."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return {"failed": "no Chromium here"}
    content, rows = encode_lesion(), []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        for _ in range(count):
            rows.append(_start_once(browser, content))
        browser.close()
    return {name: round(float(np.median([row[name] for row in rows])), 2) for name in rows[0]} | {"starts": count}


def _start_once(browser: Any, content: bytes) -> dict[str, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = browser.new_context().new_page()
    wait_until_idle(browser)
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "skinai", "app", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).read()
                break
            except OSError:
                if process.poll() is not None or time.perf_counter() - start > 60:
                    raise
                time.sleep(0.02)
        listening = time.perf_counter() - start
        page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
        page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
        offered = time.perf_counter() - start
        idle = read_memory_mb(process.pid)
        page.locator("input[type=file]").first.set_input_files(
            {"name": "lesion.jpg", "mimeType": "image/jpeg", "buffer": content}
        )
        page.get_by_text(_ANSWER).wait_for(timeout=60_000)
        answered = time.perf_counter() - start
        used = read_memory_mb(process.pid)
    finally:
        page.context.close()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    return {
        "listening_s": listening,
        "upload_offered_s": offered,
        "first_answer_s": answered,
        "idle_memory_mb": idle,
        "memory_after_answer_mb": used,
    }
