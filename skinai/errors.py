"""The errors skinai raises on purpose. Each message is one plain sentence that may be shown to a user.

SkinaiError
 |-- DataError       a data folder, a table or a split is not what it should be
 |-- PictureError    one picture cannot be read safely; carries a `code`
 |-- ModelError      a model folder is missing, damaged or does not agree with itself
 |-- AuditError      the audit log cannot be written or is not as it was left
 `-- UsageError      a command was called with arguments that do not fit together
"""


class SkinaiError(Exception):
    """Base of every error that skinai raises on purpose."""


class DataError(SkinaiError):
    """A data folder, a table or a split is not what it should be."""


class ModelError(SkinaiError):
    """A model folder is missing, damaged or does not agree with itself."""


class AuditError(SkinaiError):
    """The audit log cannot be written, or is not as it was left."""


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
