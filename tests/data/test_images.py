"""One decoder: every picture comes out upright, in RGB, or is refused with a sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import encode
from PIL import Image, ImageCms, ImageOps

from skinai.data.images import (
    FrameRule,
    check_mark,
    cover_mark,
    decode_picture,
    encode_preview,
    frame_picture,
    read_picture,
)
from skinai.errors import PictureError


@pytest.fixture
def corners():
    """A 60 x 40 picture whose four corners have four colours, so that every turn shows."""
    picture = np.full((40, 60, 3), 128, np.uint8)
    picture[:20, :30] = (250, 20, 20)
    picture[:20, 30:] = (20, 250, 20)
    picture[20:, :30] = (20, 20, 250)
    return picture


def save(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb_png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1_000_000, 9)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def huge_jpeg(width, height, **options):
    """A small JPEG whose frame header announces another size."""
    content = bytearray(encode(np.zeros((64, 64, 3), np.uint8), **options))
    marker = content.index(b"\xff\xc2" if options else b"\xff\xc0")
    content[marker + 5 : marker + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(corners, kind, orientation):
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(corners)
    if stored is not None:
        image = image.transpose(stored)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98, "subsampling": 0} if kind == "JPEG" else {}
    decoded = decode_picture(save(image, kind, exif=exif, **options))
    assert decoded.shape == corners.shape
    assert np.abs(decoded.astype(int) - corners).mean() < 3


@pytest.mark.filterwarnings("ignore:.*EXIF.*:UserWarning")
def test_damaged_exif_counts_as_upright(corners, monkeypatch):
    content = save(Image.fromarray(corners), "JPEG", quality=98, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert decode_picture(content).shape == (40, 60, 3)

    def fail(image):
        raise SyntaxError("not a TIFF file")

    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    assert decode_picture(content).shape == (40, 60, 3)


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    decoded = decode_picture(save(Image.fromarray(ramp)))
    assert decoded.mean() == pytest.approx(127.5, abs=1)
    assert decoded.max() == 255


def test_transparency_lies_on_white(corners):
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:20] = 255
    decoded = decode_picture(save(Image.fromarray(np.dstack([corners, alpha]))))
    assert (decoded[:20] == corners[:20]).all()
    assert (decoded[20:] == 255).all()


def test_palette_with_transparency_lies_on_white(corners):
    image = Image.fromarray(corners).quantize(8)
    entry = image.getpixel((5, 35))
    decoded = decode_picture(save(image, transparency=entry))
    assert (decoded[35, 5] == 255).all()
    assert np.abs(decoded[5, 5].astype(int) - corners[5, 5]).max() < 12


def test_cmyk_one_bit_and_grey_become_rgb(corners):
    image = Image.fromarray(corners)
    cmyk = decode_picture(save(image.convert("CMYK"), "JPEG", quality=98, subsampling=0))
    assert np.abs(cmyk.astype(int) - corners).mean() < 6
    assert set(np.unique(decode_picture(save(image.convert("1"))))) <= {0, 255}
    grey = decode_picture(save(image.convert("L")))
    assert (grey[..., 0] == grey[..., 2]).all()


def test_a_colour_profile_is_applied(corners):
    """A profile whose red and green primaries are exchanged must exchange the two colours."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    plain = decode_picture(save(Image.fromarray(corners), icc_profile=profile))
    turned = decode_picture(save(Image.fromarray(corners), icc_profile=exchanged))
    assert np.abs(plain.astype(int) - corners).max() <= 2
    assert turned[5, 5, 1] > 200
    assert turned[5, 5, 0] < 90


@pytest.mark.parametrize("profile", [b"x", b"\0" * 500, b"\0" * 16 + b"RGB " + b"\xff" * 400, b"p" * 40_000])
def test_a_broken_or_large_profile_is_ignored(corners, profile):
    assert (decode_picture(save(Image.fromarray(corners), icc_profile=profile)) == corners).all()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty"),
        (b"hello", "not_a_picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_a_picture"),
        (b"%PDF-1.7", "not_a_picture"),
        (b"GIF89a" + b"\0" * 100, "not_a_picture"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 100, "unreadable"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "unreadable"),
        (bomb_png(40_000, 40_000), "too_many_pixels"),
        (bomb_png(60_000, 60_000), "too_many_pixels"),
        (bomb_png(5_000, 5_000), "too_many_pixels"),
        (huge_jpeg(8_000, 7_000), "too_many_pixels"),
        (huge_jpeg(5_000, 4_000, progressive=True), "too_many_pixels"),
        (bomb_png(4_000, 64), "odd_shape"),
        (bomb_png(1, 1), "too_small"),
        (b"\xff\xd8\xff" + b"\0" * (20 * 1024 * 1024), "too_large"),
    ],
)
def test_what_is_no_safe_picture_is_refused_with_its_code(content, code):
    with pytest.raises(PictureError) as caught:
        decode_picture(content)
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_an_animation_is_refused(corners):
    frames = [Image.fromarray(corners), Image.fromarray(255 - corners)]
    with pytest.raises(PictureError) as caught:
        decode_picture(save(frames[0], save_all=True, append_images=frames[1:]))
    assert caught.value.code == "animated"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_truncated_picture_is_refused_and_nothing_else_escapes(lesion, kind):
    content = encode(lesion, kind)
    for share in np.linspace(0.02, 0.98, 25):
        with pytest.raises(PictureError):
            decode_picture(content[: int(len(content) * share)])


def test_flipped_bytes_never_raise_anything_but_a_picture_error(lesion):
    rng = np.random.default_rng(5)
    for kind in ("PNG", "JPEG"):
        content = bytearray(encode(lesion[::3, ::3], kind))
        for _ in range(60):
            damaged = bytearray(content)
            for position in rng.integers(0, len(damaged), 12):
                damaged[position] = rng.integers(256)
            try:
                decoded = decode_picture(bytes(damaged))
            except PictureError:
                continue
            assert decoded.dtype == np.uint8
            assert decoded.ndim == 3


def test_a_jpeg_with_many_scans_is_refused_before_they_are_decoded(lesion):
    """Each scan costs a pass over the picture and 12 bytes announce one."""
    content = encode(lesion, "JPEG", progressive=True)
    scan = content[content.rindex(b"\xff\xda") : -2]
    crafted = content[:-2] + scan * 70 + content[-2:]
    with pytest.raises(PictureError, match="more than 64 scans"):
        decode_picture(crafted)


def test_a_wide_jpeg_that_cannot_be_reduced_is_refused():
    with pytest.raises(PictureError) as caught:
        decode_picture(encode(np.zeros((2100, 20_000, 3), np.uint8)))
    assert caught.value.code == "too_many_pixels"


@pytest.mark.parametrize("tag", [b"A2B0", b"D2B0", b"B2A1", b"gamt"])
def test_a_profile_with_look_up_tables_never_reaches_the_colour_library(corners, tag, monkeypatch):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = save(Image.fromarray(corners), icc_profile=profile.replace(b"cprt", tag))
    monkeypatch.setattr(ImageCms, "profileToProfile", lambda *_, **__: pytest.fail("the profile was used"))
    assert (decode_picture(content) == corners).all()


def test_a_large_jpeg_is_decoded_reduced():
    decoded = decode_picture(encode(np.full((4800, 6400, 3), 90, np.uint8)))
    assert decoded.shape == (1200, 1600, 3)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="could not be opened"):
        read_picture(tmp_path / "absent.jpg")


def test_a_frame_keeps_the_shape_of_a_lesion():
    """A circle stays a circle, from a wide, a square and a tall picture alike."""
    for width, height in ((600, 450), (450, 450), (450, 600), (900, 300)):
        y, x = np.mgrid[0:height, 0:width]
        disc = np.hypot(x - width / 2 + 0.5, y - height / 2 + 0.5) < 100
        picture = np.where(disc[..., None], 20, 230).astype(np.uint8).repeat(3, axis=2)
        framed = frame_picture(picture, FrameRule(256, 192))
        dark = framed[..., 0] < 125
        across, down = dark.any(axis=0).sum(), dark.any(axis=1).sum()
        assert framed.shape == (192, 256, 3)
        assert abs(int(across) - int(down)) <= 1


def test_a_tall_picture_is_turned_not_squashed(corners):
    wide = frame_picture(corners, FrameRule(60, 45))
    tall = frame_picture(np.rot90(corners, -1).copy(), FrameRule(60, 45))
    assert np.abs(wide.astype(int) - tall).mean() < 1


@pytest.mark.parametrize("size", [(0, 0), (10, 20), (4, 4)])
def test_an_impossible_frame_is_refused(size):
    with pytest.raises(ValueError, match="at least as wide as high"):
        FrameRule(*size)


def test_an_array_that_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        frame_picture(np.zeros((10, 10, 3), np.float32), FrameRule(16, 12))


def test_a_preview_is_small_and_without_metadata():
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    preview = encode_preview(noise)
    image = Image.open(io.BytesIO(preview))
    assert len(preview) < 1024 * 1024
    assert image.size == (640, 480)
    assert not image.getexif()
    assert "icc_profile" not in image.info
    assert "comment" not in image.info


@pytest.mark.parametrize("size", [(40, 60), (41, 61), (33, 97)])
def test_a_mark_is_covered_by_the_other_side_mirrored(size):
    height, width = size
    picture = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    before = picture.copy()
    covered = cover_mark(picture, (0.0, 0.5, 0.5, 0.8))
    top, bottom, across = int(height * 0.5), int(height * 0.8), int(width * 0.5)
    assert (covered[top:bottom, :across] == picture[top:bottom, ::-1][:, :across]).all()
    assert (covered[top:bottom, across:] == picture[top:bottom, across:]).all()
    assert (covered[:top] == picture[:top]).all()
    assert (covered[bottom:] == picture[bottom:]).all()
    assert (picture == before).all()
    right = cover_mark(picture, (0.75, 0.0, 1.0, 0.5))
    across = int(width * 0.75)
    assert (right[:top, across:] == picture[:top, ::-1][:, across:]).all()
    assert (right[:top, :across] == picture[:top, :across]).all()
    assert (right[top:] == picture[top:]).all()


@pytest.mark.parametrize("mark", [(0, 0.62, 0.36, 1), (0.5, 0, 1, 1), (0, 0, 0.5, 0.01), ("0", "0.5", "0.25", "1")])
def test_a_mark_at_an_edge_can_be_covered(mark):
    assert check_mark(mark) == tuple(float(value) for value in mark)


@pytest.mark.parametrize(
    "mark",
    [
        (0.1, 0.6, 0.4, 1),
        (0, 0.6, 0.6, 1),
        (0.4, 0.6, 1, 1),
        (0, 0.6, 1, 1),
        (0, 0.6, 0, 1),
        (1, 0.6, 1, 1),
        (0, 0.8, 0.3, 0.8),
        (0, -0.1, 0.3, 0.8),
        (0, 0.1, 0.3, 1.1),
        (0, float("nan"), 0.3, 1),
        (0, 0.6, 0.3),
        (0, 0.6, 0.3, 1, 1),
        ("0", "0.6", "much", "1"),
    ],
)
def test_a_mark_that_cannot_be_covered_is_a_sentence(mark):
    with pytest.raises(ValueError, match=r"^A mark is left, top, right and bottom in shares of") as refusal:
        check_mark(mark)
    assert str(refusal.value).endswith(f"Received: {', '.join(map(str, mark))}.")


@pytest.mark.parametrize("rule", [FrameRule(320, 240), FrameRule(256, 192), FrameRule(128, 96), FrameRule(224, 224)])
def test_a_picture_of_any_size_is_framed(rule):
    """Of some sizes, such as 799 x 397, the crop is beyond the edge by the last digit of a float."""
    sizes = [(799, 397), (451, 300), *((width, height) for width in range(40, 75) for height in range(32, 60))]
    for width, height in sizes:
        frame = frame_picture(np.full((height, width, 3), 90, np.uint8), rule)
        assert frame.shape == (rule.height_px, rule.width_px, 3)
        assert (frame == 90).all()
