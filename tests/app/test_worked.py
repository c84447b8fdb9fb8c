"""What is worked out for a visit's pictures is worked out once, and asked for later where others wait."""

import weakref
from pathlib import Path

import pytest
import streamlit as st
from conftest import encode
from streamlit.testing.v1 import AppTest

from skinai import wording
from skinai.data.drawing import draw_lesion
from skinai.serving.predictor import Predictor
from skinai.serving.routing import Desk
from skinai.ui import resources, turns, worked

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def asked(small_model, monkeypatch):
    """The frames that the model was asked about, in the order in which it was."""
    monkeypatch.setenv("SKINAI_MODEL", str(small_model))
    st.cache_resource.clear()
    frames, answer = [], Predictor.answer

    def note(self, frame):
        frames.append(frame)
        return answer(self, frame)

    resources.load_desk()  # whose test of itself is none of these
    monkeypatch.setattr(Predictor, "answer", note)
    return frames


@pytest.fixture
def app():
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=300).run()


def upload(app, number):
    app.file_uploader[0].set_value(("lesion.png", encode(draw_lesion(number)), "image/png")).run()
    assert not app.exception


def steadiness(app):
    return [element.value for element in app.markdown if "is the most probable in" in element.value]


def find_button(app):
    return [button for button in app.button if button.label == wording.TURNS_BUTTON]


def test_a_click_elsewhere_asks_the_model_nothing(app, asked):
    upload(app, 3)
    assert len(asked) == 4  # as given, mirrored, upside down, both
    shown = steadiness(app)
    assert len(shown) == 1
    age = next(box for box in app.number_input if box.label == "Age in years")
    age.set_value(55).run()
    assert not app.exception
    assert len(asked) == 4
    assert steadiness(app) == shown


def test_other_pictures_and_other_models_are_asked_anew(app, asked):
    upload(app, 3)
    upload(app, 4)
    assert len(asked) == 8
    # The pictures of before were let go of.
    upload(app, 3)
    assert len(asked) == 12
    st.cache_resource.clear()
    resources.load_desk()
    asked.clear()
    app.run()
    assert not app.exception
    assert len(asked) == 4


def test_once_the_picture_is_taken_away_nothing_of_it_is_kept(app, asked):
    upload(app, 3)
    assert "worked_out" in app.session_state
    app.file_uploader[0].set_value(None).run()
    assert not app.exception
    assert "worked_out" not in app.session_state


def test_where_others_wait_the_turned_picture_is_asked_about_on_request(app, asked, monkeypatch):
    monkeypatch.setattr(turns, "others_wait", lambda: True)
    upload(app, 3)
    assert len(asked) == 1
    assert not steadiness(app)
    (button,) = find_button(app)
    assert button.help == wording.TURNS_LATER
    button.click().run()
    assert not app.exception
    assert len(asked) == 4
    assert len(steadiness(app)) == 1
    # It stays, and is not asked for again.
    app.run()
    assert len(asked) == 4
    assert len(steadiness(app)) == 1
    assert not find_button(app)


def test_a_failure_is_not_kept_and_a_desk_that_went_is_not_held(monkeypatch):
    monkeypatch.setattr(st, "session_state", {})
    desk = Desk({})
    with pytest.raises(ZeroDivisionError):
        worked.recall(desk, "a", "step", lambda: 1 / 0)
    assert not worked.is_known(desk, "a", "step")
    assert worked.recall(desk, "a", "step", lambda: 5) == 5
    assert worked.recall(desk, "a", "step", lambda: 6) == 5
    assert worked.recall(desk, "a", "other step", lambda: 6) == 6
    assert worked.recall(Desk({}), "a", "step", lambda: 7) == 7
    seen = weakref.ref(desk)
    del desk
    assert seen() is None
