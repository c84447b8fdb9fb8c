"""What the server does between requests."""

import gc
import weakref

from skinai.ui.upkeep import keep_for_good


class Visit:
    """Something that refers to itself, as Streamlit's sessions do, so that only the search for garbage finds it."""

    def __init__(self):
        self.own = self


def test_what_was_kept_for_good_is_let_go_of_once_it_is_looked_through_anew():
    visit = Visit()
    seen = weakref.ref(visit)
    keep_for_good()
    try:
        assert gc.get_freeze_count() > 0
        del visit
        gc.collect()
        assert seen() is not None
        keep_for_good(anew=True)
        assert seen() is None
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
