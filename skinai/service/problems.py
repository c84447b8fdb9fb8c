"""What the service answers where it gives no answer: a status, a word for machines, a sentence for people."""

from __future__ import annotations


class RequestError(Exception):
    """A request that is not answered.

    Attributes
    ----------
    status : int
        Of the HTTP answer.
    code : str
        A short stable word for machines.
    sentence : str
    retry_after_s : int or None
        After how many seconds it is worth another try.
    """

    def __init__(self, status: int, code: str, sentence: str, *, retry_after_s: int | None = None) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence, self.retry_after_s = status, code, sentence, retry_after_s
