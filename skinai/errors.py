"""The errors skinai raises on purpose. Each message is one plain sentence that may be shown to a user.

SkinaiError
 |-- DataError       a data folder, a table or a split is not what it should be
 |-- PictureError    one picture cannot be read safely; carries a `code`
 |-- ModelError      a model folder is missing, damaged or does not agree with itself
 |-- AuditError      the audit log cannot be written or is not as it was left
 |-- AccessError     what says who may use the page is not what it should be
 `-- UsageError      a command was called with arguments that do not fit together
"""

_LONGEST_SENTENCE = 5000


class SkinaiError(Exception):
    """Base of every error that skinai raises on purpose.

    A sentence may quote a file. Whatever stands there, ``str`` gives one line without characters that could steer a
    terminal, and of a sentence that is far too long the beginning.
    """

    def __str__(self) -> str:
        sentence = super().__str__()
        if not sentence.isprintable():
            sentence = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in sentence)
        return sentence if len(sentence) <= _LONGEST_SENTENCE else sentence[: _LONGEST_SENTENCE - 4] + "...."


class DataError(SkinaiError):
    """A data folder, a table or a split is not what it should be."""


class ModelError(SkinaiError):
    """A model folder is missing, damaged or does not agree with itself."""


class AuditError(SkinaiError):
    """The audit log cannot be written, or is not as it was left."""


class AccessError(SkinaiError):
    """What says who may use the page is not what it should be."""


class UsageError(SkinaiError):
    """A command was called with arguments that do not fit together."""


class PictureError(SkinaiError):
    """One picture cannot be read safely.

    Attributes
    ----------
    code : str
        A short stable word for machines, such as ``"unreadable"`` or ``"too_large"``.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
