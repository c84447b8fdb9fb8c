"""The pictures of an upload, read into memory within bounds; nothing is written on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, cast

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from skinai.service.problems import RequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD = "pictures"
MAX_PICTURES = 16
# Of one request, with everything around the pictures. Each picture may have 20 MB, as everywhere.
MAX_BODY_BYTES = 64 * 1024 * 1024
# Of all requests together that are being read or answered.
MAX_HELD_BYTES = 256 * 1024 * 1024

NOT_A_FORM = f"Pictures are sent as multipart/form-data, in parts called {FIELD}."
NO_PICTURE = f"The form has no picture; each is a part called {FIELD}."
TOO_LARGE = f"A request has at most {MAX_BODY_BYTES // 1024 // 1024} MB."
_MALFORMED = "The body is no complete multipart/form-data."


class Memory:
    """How many bytes of uploads are held at this moment, by everybody together."""

    def __init__(self) -> None:
        self.held_bytes = 0


class Upload:
    """The pictures of one request; as a context it gives back the memory that it took.

    Parameters
    ----------
    memory : Memory
        Shared by all uploads, and used by one thread only.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory, self._taken_bytes = memory, 0
        self._pictures: list[bytes] = []
        self._content = bytearray()
        self._name, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._complete = False

    def __enter__(self) -> Upload:
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.held_bytes -= self._taken_bytes

    async def read(self, headers: Mapping[str, str], chunks: AsyncIterator[bytes]) -> list[bytes]:
        """Return the content of each part called `FIELD`, in order.

        Parameters
        ----------
        headers : mapping of str to str
            Of the request, by lower-case name.
        chunks : asynchronous iterator of bytes
            The body.

        Raises
        ------
        RequestError
            415 if the body is no form, 413 if it is too large, 429 if too much memory is held already, 422 if the form
            is malformed, has another field, no picture, or too many of them.
        """
        kind, options = parse_options_header(headers.get("content-type", ""))
        if kind != b"multipart/form-data":
            raise RequestError(415, "not_a_form", NOT_A_FORM)
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_BODY_BYTES:
            raise _too_large()
        if not options.get(b"boundary"):
            raise RequestError(422, "malformed", _MALFORMED)
        try:
            parser = MultipartParser(options[b"boundary"], self._callbacks())
            async for chunk in chunks:
                self._take(len(chunk))
                parser.write(chunk)
            parser.finalize()
        except FormParserError as error:
            raise RequestError(422, "malformed", _MALFORMED) from error
        if not self._complete:
            raise RequestError(422, "malformed", _MALFORMED)
        if not self._pictures:
            raise RequestError(422, "no_picture", NO_PICTURE)
        return self._pictures

    def _take(self, size: int) -> None:
        self._taken_bytes += size
        self._memory.held_bytes += size
        if self._taken_bytes > MAX_BODY_BYTES:
            raise _too_large()
        if self._memory.held_bytes > MAX_HELD_BYTES:
            raise RequestError(
                429, "busy", "The uploads of others take all the memory there is for them.", retry_after_s=1
            )

    def _callbacks(self) -> MultipartCallbacks:
        callbacks = {
            "on_part_begin": self._begin_part,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        return cast("MultipartCallbacks", callbacks)

    def _begin_part(self) -> None:
        self._disposition = b""

    def _begin_header(self) -> None:
        self._name.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _end_headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if options.get(b"name") != FIELD.encode():
            raise RequestError(422, "unknown_field", f"Every part of the form is a picture and is called {FIELD}.")
        if b"filename" not in options:  # as from who forgets curl's @
            raise RequestError(422, "not_a_file", f"Every part called {FIELD} is a file, with a file name.")
        if len(self._pictures) == MAX_PICTURES:
            raise RequestError(422, "too_many_pictures", f"A request has at most {MAX_PICTURES} pictures.")

    def _end_part(self) -> None:
        self._pictures.append(bytes(self._content))
        self._content.clear()

    def _end(self) -> None:
        self._complete = True


def _too_large() -> RequestError:
    return RequestError(413, "too_large", TOO_LARGE)
