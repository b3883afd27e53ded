import io
import random
import sys
import warnings

import numpy as np
import pictures
import pytest
import tiny
from pictures import ORIENTATION, encoded, grey, png16
from PIL import Image, ImageCms, ImageOps

from unsee.core.errors import DataError
from unsee.data import images
from unsee.data.documents.privacy_pair import load as load_documents
from unsee.data.images import check_all, decode, encode_png, ending, fault, preview
from unsee.data.people.mllmu import load


def pixels(picture) -> np.ndarray:
    return np.asarray(decode(picture, "image 'x'"))


@pytest.fixture(params=["bytes", "file"])
def given(request, tmp_path):
    """Gives a picture as the decoder takes it: its content, or a file."""

    def give(content):
        if request.param == "bytes":
            return content
        (tmp_path / "x").write_bytes(content)
        return tmp_path / "x"

    return give


@pytest.mark.slow
def test_the_pictures_that_unsee_makes_are_decoded_to_the_same_pixels(small_data, documents):
    pages = [case.image for case in load_documents(documents).cases]
    benchmark = load(small_data, 15)
    people = (*benchmark.forget, *benchmark.test, *benchmark.retain, *benchmark.celebrity)
    files = [path.read_bytes() for path in pages] + [image for person in people for image in person.images]
    assert len(pages) > 20 and len(files) > len(pages) + 20
    for content in files:
        assert np.array_equal(pixels(content), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        assert preview(decode(content, "x")) == encode_png(decode(content, "x")) == content


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_ordinary_pictures_are_as_pillow_decodes_them(kind, mode, given):
    content = encoded(tiny.photo().convert(mode), kind)
    assert np.array_equal(pixels(given(content)), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "YCbCr", "LAB"])
def test_other_modes_are_converted(mode):
    content = encoded(tiny.photo().convert("L" if mode == "1" else "RGB"), "TIFF")
    image = Image.open(io.BytesIO(content))
    if mode == "LAB":
        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.applyTransform(image, ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    content = encoded(image.convert(mode) if mode != "LAB" else image, "TIFF")
    assert np.array_equal(pixels(content), np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))


DEEP = {
    "16 bits, 255 x 257": lambda eight: png16(eight.astype(np.uint16) * 257),
    "16 bits, 255 x 256": lambda eight: png16(eight.astype(np.uint16) * 256),
    "16 bits, colour": lambda eight: png16(np.repeat(eight[..., None].astype(np.uint16) * 257, 3, axis=2)),
    "16 bits, TIFF": lambda eight: encoded(Image.fromarray(eight.astype(np.uint16) * 257), "TIFF"),
    "16 bits, big-endian": lambda eight: encoded(Image.fromarray(eight.astype(">u2") * 257), "TIFF"),
    "16 bits, PGM": lambda eight: b"P5 16 12 65535\n" + (eight.astype(np.uint16) * 257).astype(">u2").tobytes(),
    "16 bits in 32": lambda eight: encoded(Image.fromarray(eight.astype(np.int32) * 257), "TIFF"),
    "8 bits in 32": lambda eight: encoded(Image.fromarray(eight.astype(np.int32)), "TIFF"),
    "shares": lambda eight: encoded(Image.fromarray(eight.astype(np.float32) / 255), "TIFF"),
    "8 bits as real numbers": lambda eight: encoded(Image.fromarray(eight.astype(np.float32)), "TIFF"),
    "16 bits as real numbers": lambda eight: encoded(Image.fromarray(eight.astype(np.float32) * 257), "TIFF"),
}  # fmt: skip


@pytest.mark.parametrize("deep", DEEP.values(), ids=DEEP)
def test_deep_greys_are_the_picture_of_8_bits(deep):
    assert np.array_equal(pixels(deep(grey())), pixels(encoded(Image.fromarray(grey()))))


def test_deep_greys_keep_dark_pictures_dark_and_stretch_only_what_has_no_range():
    dark = grey() // 64
    assert np.array_equal(pixels(png16(dark.astype(np.uint16) * 257)), pixels(encoded(Image.fromarray(dark))))
    for values in (grey().astype(np.float32) - 300, grey().astype(np.int32) * 8_000_000):
        seen = pixels(encoded(Image.fromarray(values), "TIFF"))
        assert (seen.min(), seen.max()) == (0, 255)
    hole = grey().astype(np.float32)
    hole[0, 0] = np.nan
    assert np.array_equal(
        pixels(encoded(Image.fromarray(hole), "TIFF"))[1:], pixels(encoded(Image.fromarray(grey())))[1:]
    )


def _noise_below(alpha: np.ndarray, mode: str = "RGBA") -> Image.Image:
    """Noise that is seen where alpha is."""
    channels = len(mode) - 1
    noise = np.random.default_rng(0).integers(1, 200, (*alpha.shape, channels))
    return Image.fromarray(np.concatenate([noise, alpha[..., None]], axis=2).astype(np.uint8), mode)


HALF = np.repeat([[0] * 8 + [255] * 8], 12, axis=0)
PALETTE = Image.fromarray((HALF // 255).astype(np.uint8)).convert("P")
LEFT_SIDE_TRANSPARENT = {
    "RGBA": lambda: encoded(_noise_below(HALF)),
    "LA": lambda: encoded(_noise_below(HALF, "LA")),
    "RGBA, WebP": lambda: encoded(_noise_below(HALF), "WEBP", lossless=True, exact=True),
    "RGBA, TIFF": lambda: encoded(_noise_below(HALF), "TIFF"),
    "16 bits, grey": lambda: png16(np.where(HALF == 0, 300, 50_000), transparent=300),
    "16 bits, colour": lambda: png16(np.repeat(np.where(HALF == 0, 300, 50_000)[..., None], 3, 2), transparent=300),
    "L": lambda: encoded(Image.fromarray(np.where(HALF == 0, 7, 90).astype(np.uint8)), transparency=7),
    "RGB": lambda: encoded(Image.fromarray(np.where(HALF[..., None] == 0, (1, 2, 3), (90, 7, 3)).astype(np.uint8)),
                           transparency=(1, 2, 3)),
    "palette": lambda: encoded(PALETTE, transparency=0),
    "palette, a byte each": lambda: encoded(PALETTE, transparency=bytes([0, 255])),
    "palette, GIF": lambda: encoded(PALETTE, "GIF", transparency=0),
}  # fmt: skip


@pytest.mark.parametrize("make", LEFT_SIDE_TRANSPARENT.values(), ids=LEFT_SIDE_TRANSPARENT)
def test_transparent_parts_are_white(make, given):
    seen = pixels(given(make()))
    assert (seen[:, :8] == 255).all()
    assert (seen[:, 8:].min(axis=2) < 255).all()


def test_half_transparent_parts_are_mixed_with_white():
    half = Image.new("RGBA", (8, 8), (100, 0, 200, 128))
    assert np.abs(pixels(encoded(half)).astype(int) - (177, 127, 227)).max() <= 1
    assert np.array_equal(np.asarray(decode(encoded(half), "x", "black")) // 2, np.full((8, 8, 3), (25, 0, 50)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_makes_an_upright_picture(kind, orientation, given):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    upright = tiny.photo().crop((0, 0, 48, 32))
    as_taken = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.get(orientation)
    turned = upright if as_taken is None else upright.transpose(Image.Transpose(as_taken))
    seen = pixels(given(encoded(turned, kind, exif=exif, **options)))
    assert np.abs(seen.astype(int) - np.asarray(upright)).mean() < (3 if kind == "JPEG" else 0.01)


def test_a_damaged_exif_block_is_no_reason_to_refuse_a_picture():
    for block in (
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff",
        b"Exif\0\0 nonsense",
    ):
        assert pixels(encoded(tiny.photo(), "JPEG", exif=block)).shape == (96, 96, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_a_picture_that_is_cut_off_is_refused(kind, share, given):
    content = encoded(tiny.photo(), kind)
    with pytest.raises(DataError, match=r"^image 'x' cannot be read as an image") as error:
        decode(given(content[: int(len(content) * share)]), "image 'x'")
    assert "\n" not in str(error.value) and "object at" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "cannot be read as an image; save it as JPEG or PNG"),
        (b"<!DOCTYPE html><title>Not found</title>", "cannot be read as an image; save it as JPEG or PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "cannot be read as an image; save it as JPEG or PNG"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is a git-LFS pointer instead of the image"),
        (
            pictures.huge_png(20_000, 20_000),
            "has 20,000 x 20,000 pixels; at most 67 million are read, so make it smaller",
        ),
        (pictures.huge_png(13_000, 13_000), "has 13,000 x 13,000 pixels; at most 67 million are read"),
        (encoded(Image.new("RGB", (1, 1))), "has 1 x 1 pixels, too few to show anything; give another image"),
        (encoded(Image.new("RGB", (600, 2))), "has 600 x 2 pixels, too few to show anything"),
        (encoded(Image.new("RGB", (3, 40))), "has 3 x 40 pixels, too few to show anything"),
        (encoded(Image.new("RGB", (5_000, 20))), "has 5,000 x 20 pixels; no side may be more than 100 times the other"),
        (encoded(Image.new("RGB", (5, 600))), "has 5 x 600 pixels; no side may be more than 100 times the other"),
    ],
)
def test_what_is_no_picture_for_a_model_is_one_sentence(content, what, given):
    sentence = fault(given(content), "image 'x'")
    assert sentence.startswith(f"image 'x' {what}") and "\n" not in sentence


def test_narrow_and_small_pictures_within_the_limits_are_read():
    for size in ((4, 4), (4, 400), (400, 4), (20, 27)):
        assert decode(encoded(Image.new("RGB", size)), "x").size == size


def test_a_file_that_is_not_there_or_never_ends_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    assert fault(tmp_path / "none.png", "image 'none.png'") == f"image 'none.png' does not exist in {tmp_path}"
    assert fault(tmp_path / "link.png", "x") == f"x does not exist in {tmp_path}"
    assert fault(tmp_path / "folder", "x") == f"x is not a file in {tmp_path}"
    assert fault(tmp_path.joinpath("/dev/zero"), "x") == "x is not a file in /dev"
    assert fault(tmp_path / "a\0b", "x").startswith("x ")


def test_pictures_larger_than_any_model_uses_are_shrunk(monkeypatch):
    whole = ImageOps.scale(tiny.photo(), 4)
    smooth = np.asarray(whole.resize((64, 64), Image.Resampling.LANCZOS)).astype(int)
    monkeypatch.setattr(images, "PIXELS_USED", 64 * 64)
    for kind in ("PNG", "JPEG"):
        seen = pixels(encoded(whole, kind))
        assert seen.shape == (64, 64, 3) and np.abs(seen - smooth).mean() < 12
    wide = decode(encoded(whole.resize((400, 100))), "x")
    assert wide.size == (128, 32)
    turned = Image.Exif()
    turned[ORIENTATION] = 6
    assert decode(encoded(whole.resize((400, 100)), "JPEG", exif=turned), "x").size == (32, 128)
    assert decode(encoded(whole.convert("RGBA")), "x").size == (64, 64)
    assert decode(encoded(whole.resize((64, 64))), "x").tobytes() == whole.resize((64, 64)).tobytes()


def test_jpeg_may_be_larger_because_it_is_decoded_at_half_size(monkeypatch):
    monkeypatch.setattr(images, "PIXELS_USED", 64 * 64)
    monkeypatch.setattr(images, "_MOST_PIXELS", 4 * 64 * 64)
    monkeypatch.setattr(images, "_MOST_PIXELS_JPEG", 16 * 64 * 64)
    opened = []
    rgb = images._rgb
    monkeypatch.setattr(
        images, "_rgb", lambda image, background: (opened.append(image.size), rgb(image, background))[1]
    )
    assert decode(encoded(tiny.photo().resize((240, 240)), "JPEG"), "x").size == (64, 64)
    assert opened == [(120, 120)]
    assert "has 256 x 256 pixels" in fault(encoded(tiny.photo().resize((256, 256))), "x")
    assert "has 256 x 257 pixels" in fault(encoded(tiny.photo().resize((256, 257)), "JPEG"), "x")


def test_the_limit_of_pillow_is_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1234)
    decode(tiny.png(), "x")
    fault(b"", "x")
    assert Image.MAX_IMAGE_PIXELS == 1234


def test_heic_is_read_or_named(monkeypatch, given):
    import pillow_heif

    photo = tiny.photo()
    file = io.BytesIO()
    pillow_heif.from_pillow(photo).save(file, quality=-1)
    heic = given(file.getvalue())
    assert np.abs(pixels(heic).astype(int) - np.asarray(photo)).mean() < 4
    assert ending(heic, "x") == "heif"
    assert "cannot be read as an image" in fault(given(file.getvalue()[:600]), "x")
    heic = given(file.getvalue())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    sentence = "image 'x' is a HEIC image; run `pip install 'unsee[heic]'` to read it, or convert it to JPEG"
    assert fault(heic, "image 'x'") == sentence
    assert fault(given(encoded(photo, "AVIF")), "x") == ""


def test_names_end_in_the_format_of_the_picture(given):
    for kind, end in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp"), ("GIF", "gif"), ("TIFF", "tiff")):
        assert ending(given(encoded(tiny.photo(), kind)), "x") == end
    with pytest.raises(DataError, match="x cannot be read as an image"):
        ending(given(b"text"), "x")


def test_a_preview_is_small_upright_and_without_what_the_camera_noted():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "Camera of Ada"
    content = preview(decode(encoded(Image.new("RGB", (1200, 600)), "JPEG", exif=exif), "x"))
    shown = Image.open(io.BytesIO(content))
    assert (shown.format, shown.size) == ("PNG", (256, 512)) and b"Camera" not in content


def test_several_broken_pictures_are_counted():
    check_all([(tiny.png(), "a"), (tiny.png(1), "b")])
    with pytest.raises(DataError, match=r"^2 problems\n  b cannot be read .* JPEG or PNG\n  c cannot be read .* PNG$"):
        check_all([(tiny.png(), "a"), (b"", "b"), (b"", "c")])
    with pytest.raises(DataError, match=r"^b cannot be read as an image; save it as JPEG or PNG$"):
        check_all([(b"", "b")])


def _two_frames() -> dict:
    return {"save_all": True, "append_images": [tiny.photo(1).resize((40, 30))]}


def _variants() -> dict[str, bytes]:
    photo = tiny.photo().resize((40, 30))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    progressive = {"progressive": True, "quality": 90}
    return {
        "JPEG": encoded(photo, "JPEG"),
        "JPEG, progressive": encoded(photo, "JPEG", **progressive),
        "JPEG, CMYK": encoded(photo.convert("CMYK"), "JPEG"),
        "JPEG, profile": encoded(photo, "JPEG", icc_profile=profile),
        "JPEG, two pictures": encoded(photo, "MPO", **_two_frames()),
        "PNG": encoded(photo),
        "PNG, profile": encoded(photo, icc_profile=profile),
        "PNG, 1 bit": encoded(photo.convert("1")),
        "PNG, palette": encoded(photo.quantize(16)),
        "PNG, transparent": encoded(photo.convert("RGBA")),
        "PNG, 16 bits": png16(grey().astype(np.uint16) * 257, transparent=257),
        "PNG, animated": encoded(photo, **_two_frames()),
        "GIF": encoded(photo, "GIF"),
        "GIF, animated": encoded(photo, "GIF", **_two_frames()),
        "WebP": encoded(photo, "WEBP"),
        "WebP, animated": encoded(photo, "WEBP", **_two_frames()),
        "TIFF": encoded(photo, "TIFF"),
        "TIFF, pages": encoded(photo, "TIFF", **_two_frames()),
        "TIFF, real": encoded(Image.fromarray(grey().astype(np.float32)), "TIFF"),
        "BMP": encoded(photo, "BMP"),
        "PPM": encoded(photo, "PPM"),
        "AVIF": encoded(photo, "AVIF"),
        "JPEG 2000": encoded(photo, "JPEG2000"),
    }  # fmt: skip


def _damaged(content: bytes, rng: random.Random) -> bytes:
    """The file cut off, with bytes changed, with a piece moved, or with another beginning."""
    at = rng.randrange(len(content))
    match rng.randrange(6):
        case 0:
            return content[:at]
        case 1:
            changed = bytearray(content)
            for _ in range(rng.randint(1, 8)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            return bytes(changed)
        case 2:  # in the header, where sizes and offsets are
            changed = bytearray(content)
            for _ in range(rng.randint(1, 4)):
                changed[rng.randrange(min(64, len(changed)))] = rng.choice((0, 1, 127, 128, 255))
            return bytes(changed)
        case 3:
            return content[:at] + rng.randbytes(rng.randint(1, 60)) + content[at:]
        case 4:
            return rng.choice((b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF")) + content[at:]
        case _:
            return content[:at] + content[at + rng.randint(1, 200) :]


VARIANTS = _variants()


@pytest.mark.parametrize("content", VARIANTS.values(), ids=VARIANTS)
def test_whatever_is_done_to_a_file_it_is_a_picture_or_one_sentence(content):
    rng = random.Random(str(len(content)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fault(content, "x") == ""
        for _ in range(25):
            sentence = fault(_damaged(content, rng), "image 'x'")
            assert sentence == "" or (sentence.startswith("image 'x' ") and len(sentence.splitlines()) == 1)


@pytest.mark.parametrize("kind", [kind for kind in VARIANTS if kind.endswith(("animated", "pages", "pictures"))])
def test_of_several_frames_the_first_is_seen(kind):
    image = Image.open(io.BytesIO(VARIANTS[kind]))
    assert image.n_frames == 2
    assert np.array_equal(pixels(VARIANTS[kind]), np.asarray(image.convert("RGB")))
