"""An upload is read into memory, within bounds that hold while it is read."""

import asyncio

import pytest

from skinai.service import upload
from skinai.service.problems import RequestError
from skinai.service.upload import Memory, Upload

CONTENTS = [b"first \r\n--picture\r\n", b"", bytes(range(256)) * 40]
HEADERS = {"content-type": "multipart/form-data; boundary=edge"}


def form(contents, *, name="pictures", file='; filename="Doe, Jane.jpg"', end="--edge--\r\n"):
    """Return a multipart body."""
    parts = []
    for content in contents:
        head = f'--edge\r\nContent-Type: image/jpeg\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + end.encode()


def read(body, *, headers=HEADERS, size=65536, memory=None):
    async def pieces():
        for start in range(0, len(body), size):
            yield body[start : start + size]

    with Upload(memory or Memory()) as one:
        return asyncio.run(one.read(headers, pieces()))


@pytest.mark.parametrize("size", [1, 7, 100, 65536])
def test_every_picture_comes_back_whole_however_the_body_is_cut(size):
    assert read(form(CONTENTS), size=size) == CONTENTS


@pytest.mark.parametrize(
    ("body", "changes", "status", "code", "sentence"),
    [
        (b"{}", {"content-type": "application/json"}, 415, "not_a_form", "sent as multipart/form-data, in parts"),
        (b"", {"content-type": ""}, 415, "not_a_form", "called pictures"),
        (form([]), {}, 422, "no_picture", "The form has no picture"),
        (b"", {}, 422, "malformed", "no complete multipart/form-data"),
        (b"nothing of the kind", {}, 422, "malformed", "no complete multipart/form-data"),
        (form(CONTENTS), {"content-type": "multipart/form-data"}, 422, "malformed", "no complete"),
        (form(CONTENTS), {"content-type": f"multipart/form-data; boundary={'x' * 300}"}, 422, "malformed", "complete"),
        (form(CONTENTS, end=""), {}, 422, "malformed", "no complete multipart/form-data"),
        (form(CONTENTS, name="name"), {}, 422, "unknown_field", "is a picture and is called pictures"),
        (form(CONTENTS, file=""), {}, 422, "not_a_file", "is a file, with a file name"),
        (form([b"a"] * 17), {}, 422, "too_many_pictures", "A request has at most 16 pictures."),
        (form(CONTENTS), {"content-length": "67108865"}, 413, "too_large", "A request has at most 64 MB."),
    ],
)
def test_what_cannot_be_taken_is_refused_with_a_sentence(body, changes, status, code, sentence):
    memory = Memory()
    with pytest.raises(RequestError, match=sentence) as caught:
        read(body, headers=HEADERS | changes, memory=memory)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert memory.held_bytes == 0


def test_sixteen_pictures_are_taken():
    assert read(form([b"a"] * 16)) == [b"a"] * 16


def test_a_body_that_grows_too_large_is_refused_while_it_is_read(monkeypatch):
    monkeypatch.setattr(upload, "MAX_BODY_BYTES", 5000)
    left = []

    async def endless():
        for number in range(1000):
            left.append(number)
            yield form([b"x" * 1000], end="") if number == 0 else b"x" * 1000

    async def take():
        with Upload(Memory()) as one:
            await one.read(HEADERS, endless())

    with pytest.raises(RequestError) as caught:
        asyncio.run(take())
    assert caught.value.status == 413
    assert len(left) == 5


def test_all_uploads_together_have_a_bound_and_give_back_what_they_took(monkeypatch):
    monkeypatch.setattr(upload, "MAX_HELD_BYTES", 15_000)
    memory, body = Memory(), form(CONTENTS)

    async def pieces():
        yield body

    async def take_two():
        with Upload(memory) as one, Upload(memory) as other:
            assert await one.read(HEADERS, pieces()) == CONTENTS
            assert memory.held_bytes == len(body)
            await other.read(HEADERS, pieces())

    with pytest.raises(RequestError) as caught:
        asyncio.run(take_two())
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, "busy", 1)
    assert memory.held_bytes == 0
    assert read(body, memory=memory) == CONTENTS
