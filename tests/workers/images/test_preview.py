"""Previews, of images that Pillow makes here."""

import io
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from workers.images.geometry import target_size
from workers.images.jobs import MAX_SIDE, Format, Gravity, Picture, Preview
from workers.images.preview import draw_preview

RED, BLUE = (255, 0, 0), (0, 0, 255)


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    body = io.BytesIO()
    image.save(body, image_format, **options)
    return body.getvalue()


def drawn(source: bytes, **options: Any) -> Image.Image:
    return opened(draw_preview(source, Preview(**options), max_pixels=1_000_000))


def opened(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.body))
    image.load()
    assert Image.MIME[image.format or ""] == picture.media_type
    return image


def halves(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red at the left, blue at the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def near(color: Any, expected: tuple[int, ...], by: int = 8) -> bool:
    return all(abs(one - other) <= by for one, other in zip(color, expected, strict=True))


class TestSize:
    def test_gravity_says_what_stays(self) -> None:
        source = encoded(halves())
        assert drawn(source, width=10, height=10, gravity=Gravity.LEFT).getpixel((5, 5)) == RED
        assert drawn(source, width=10, height=10, gravity=Gravity.TOP_RIGHT).getpixel((5, 5)) == BLUE
        center = drawn(source, width=20, height=20)
        assert (center.getpixel((0, 0)), center.getpixel((19, 0))) == (RED, BLUE)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.tuples(st.integers(1, 60), st.integers(1, 60)),
        st.integers(0, 80),
        st.integers(0, 80),
        st.sampled_from(Gravity),
        st.sampled_from(Format),
        st.integers(-1, 100),
        st.integers(0, 100),
        st.integers(0, 4000),
        st.floats(0, 1),
        st.integers(-4, 4),
        st.sampled_from(["RGB", "RGBA", "L", "LA", "P", "1", "I;16"]),
    )
    def test_every_combination_gives_the_size_asked_for(
        self,
        size: tuple[int, int],
        width: int,
        height: int,
        gravity: Gravity,
        output: Format,
        quality: int,
        border_width: int,
        border_radius: int,
        opacity: float,
        turns: int,
        mode: str,
    ) -> None:
        image = drawn(
            encoded(Image.new(mode, size)),
            width=width,
            height=height,
            gravity=gravity,
            output=output,
            quality=quality,
            border_width=border_width,
            border_radius=border_radius,
            opacity=opacity,
            rotation=90 * turns,
        )
        expected = target_size(size, width, height)
        assert image.size == (expected[::-1] if turns % 2 else expected)
        assert (image.format or "").lower() == output.value

    @given(st.integers(-360, 360))
    @settings(max_examples=20, deadline=None)
    def test_turned_image_is_there_as_a_whole(self, degrees: int) -> None:
        image = drawn(encoded(halves((30, 30))), rotation=degrees)
        assert 30 <= min(image.size) == max(image.size) <= 45


class TestFormat:
    @pytest.mark.parametrize("image_format", list(Format))
    def test_format_stays_unless_another_is_asked_for(self, image_format: Format) -> None:
        image = drawn(encoded(halves(), image_format.value), width=10)
        assert (image.format or "").lower() == image_format.value

    def test_quality_makes_the_difference(self) -> None:
        source = encoded(Image.effect_noise((100, 100), 80))
        for output in (Format.JPEG, Format.WEBP, Format.AVIF):
            sizes = [
                len(draw_preview(source, Preview(quality=quality, output=output), max_pixels=10_000).body)
                for quality in (0, 50, 100)
            ]
            assert sizes == sorted(set(sizes)), output

    def test_animation_becomes_its_first_picture(self) -> None:
        frames = [Image.new("RGB", (8, 8), color) for color in (RED, BLUE)]
        for image_format in ("GIF", "WEBP"):
            source = encoded(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100)
            image = drawn(source, output=Format.PNG)
            assert near(image.getpixel((4, 4)), RED)
            assert getattr(drawn(source), "n_frames", 1) == 1


class TestModes:
    def test_print_colors_are_shown_as_on_screens(self) -> None:
        source = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
        assert near(drawn(source, output=Format.PNG).getpixel((4, 4)), RED, 12)

    def test_sixteen_bits_of_grey_become_eight(self) -> None:
        source = encoded(Image.new("I;16", (8, 8), 0x8000))
        assert near(drawn(source).getpixel((4, 4)), (128, 128, 128), 1)

    def test_transparent_color_of_a_palette_stays_transparent(self) -> None:
        image = Image.new("P", (8, 8), 0)
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putpixel((0, 0), 1)
        for image_format in ("PNG", "GIF"):
            preview = drawn(encoded(image, image_format, transparency=0), output=Format.PNG)
            assert preview.getpixel((4, 4))[3] == 0  # type: ignore[index]
            assert preview.getpixel((0, 0)) == (*BLUE, 255)

    def test_transparent_parts_become_white_where_there_are_none(self) -> None:
        source = encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
        assert near(drawn(source, output=Format.JPEG).getpixel((4, 4)), (255, 255, 255))
        assert near(drawn(source, output=Format.JPEG, background=BLUE).getpixel((4, 4)), BLUE)


class TestDecoration:
    def test_background_shines_through(self) -> None:
        image = drawn(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 128))), background=BLUE)
        assert near(image.getpixel((4, 4)), (128, 0, 127), 2)

    def test_opacity_makes_transparent(self) -> None:
        image = drawn(encoded(Image.new("RGBA", (8, 8), (255, 0, 0, 200))), opacity=0.5)
        assert image.getpixel((4, 4)) == (255, 0, 0, 100)
        assert drawn(encoded(halves()), opacity=0.0).getpixel((4, 4))[3] == 0  # type: ignore[index]

    def test_border_lies_inside(self) -> None:
        image = drawn(encoded(Image.new("RGB", (20, 20), RED)), border_width=3, border_color=BLUE)
        assert image.size == (20, 20)
        assert [image.getpixel((place, 10)) for place in (0, 2, 3, 16, 17, 19)] == [
            BLUE, BLUE, RED, RED, BLUE, BLUE,
        ]  # fmt: skip

    def test_corners_are_cut_off(self) -> None:
        image = drawn(encoded(Image.new("RGB", (20, 20), RED)), border_radius=4000)
        assert image.getpixel((0, 0))[3] == 0  # type: ignore[index]
        assert image.getpixel((10, 10)) == (*RED, 255)
        assert image.getpixel((10, 0))[3] > 128  # type: ignore[index]

    def test_image_turns_clockwise(self) -> None:
        image = drawn(encoded(halves()), rotation=90)
        assert image.size == (20, 40)
        assert (image.getpixel((10, 0)), image.getpixel((10, 39))) == (RED, BLUE)
        assert drawn(encoded(halves()), rotation=-90).getpixel((10, 0)) == BLUE

    def test_corners_of_a_turned_image_are_transparent(self) -> None:
        assert drawn(encoded(halves()), rotation=45).getpixel((0, 0))[3] == 0  # type: ignore[index]

    def test_picture_that_is_turned_keeps_within_the_longest_side(self) -> None:
        width, height = drawn(encoded(halves()), width=MAX_SIDE, height=MAX_SIDE, rotation=45).size
        assert MAX_SIDE - 10 < width == height <= MAX_SIDE


class TestMetadata:
    def test_image_is_shown_upright(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        source = encoded(halves((80, 40)), "JPEG", exif=exif, quality=95)
        image = drawn(source, output=Format.PNG)
        assert image.size == (40, 80)
        assert near(image.getpixel((20, 5)), RED)
        # Also where it is decoded smaller.
        small = drawn(source, width=10, output=Format.PNG)
        assert small.size == (10, 20)
        assert near(small.getpixel((5, 2)), RED)

    @pytest.mark.parametrize("output", list(Format))
    def test_place_and_comments_are_not_handed_on(self, output: Format) -> None:
        exif = Image.Exif()
        exif[0x0112] = 1
        exif[0x010E] = "secret place"
        texts = PngImagePlugin.PngInfo()
        texts.add_text("Comment", "secret place")
        sources = [
            encoded(halves(), "JPEG", exif=exif, comment=b"secret place", xmp=b"<x>secret place</x>"),
            encoded(halves(), "PNG", exif=exif, pnginfo=texts),
            encoded(halves(), "WEBP", exif=exif, xmp=b"<x>secret place</x>"),
            encoded(halves(), "AVIF", exif=exif, xmp=b"<x>secret place</x>"),
            encoded(halves(), "GIF", comment=b"secret place"),
        ]
        for source in sources:
            picture = draw_preview(source, Preview(output=output), max_pixels=10_000)
            assert b"secret place" not in picture.body
            assert not opened(picture).getexif()

    def test_colors_keep_the_profile_that_they_are_meant_in(self) -> None:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        source = encoded(halves(), "JPEG", icc_profile=profile)
        assert drawn(source, output=Format.WEBP).info["icc_profile"] == profile
        huge = encoded(halves(), "PNG", icc_profile=profile + bytes(70_000))
        assert "icc_profile" not in drawn(huge).info
