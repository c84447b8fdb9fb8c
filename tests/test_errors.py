"""Whatever a file says, an error is one line that can be printed and read."""

from skinai.errors import DataError, PictureError, SkinaiError


def test_a_sentence_is_one_line_that_steers_no_terminal():
    error = DataError("Unknown dx: \x1b[31mred\n\u202e, é and ü.")
    assert str(error) == "Unknown dx: \\x1b[31mred\\n\\u202e, é and ü."
    assert str(PictureError("empty", "The file is empty.")) == "The file is empty."


def test_a_sentence_ends():
    said = str(SkinaiError("x" * 100_000 + "."))
    assert len(said) == 5000
    assert said.endswith("x....")
