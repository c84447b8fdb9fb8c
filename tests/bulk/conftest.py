"""Worker processes begin with the module that was started, which here is pytest."""

import sys
from types import ModuleType

import pytest


@pytest.fixture(autouse=True)
def _started(monkeypatch):
    """Streamlit's own test runner leaves the page that it ran last in the place of that module."""
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
