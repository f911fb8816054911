"""How large a preview is, and which part of the image it shows."""

import cmath
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.images.geometry import target_size, turnable_size, visible_box
from workers.images.jobs import MAX_SIDE, Gravity

sides = st.integers(1, 20_000)
asked = st.integers(1, MAX_SIDE)
sizes = st.tuples(sides, sides)


class TestTargetSize:
    @pytest.mark.parametrize(
        ("source", "width", "height", "target"),
        [
            ((100, 50), 0, 0, (100, 50)),
            ((100, 50), 30, 40, (30, 40)),
            ((100, 50), 30, 0, (30, 15)),
            ((100, 50), 0, 100, (200, 100)),
            ((8000, 2000), 0, 0, (4000, 1000)),
            ((1, 10_000), 4000, 0, (1, 4000)),
            ((10_000, 1), 0, 4000, (4000, 1)),
        ],
    )
    def test_size_is_what_is_asked_for(
        self, source: tuple[int, int], width: int, height: int, target: tuple[int, int]
    ) -> None:
        assert target_size(source, width, height) == target

    @given(sizes, asked, asked)
    def test_both_sides_are_exact(self, source: tuple[int, int], width: int, height: int) -> None:
        assert target_size(source, width, height) == (width, height)

    @given(sizes, st.integers(0, MAX_SIDE), st.booleans())
    def test_shape_stays_within_the_limits(self, source: tuple[int, int], side: int, is_width: bool) -> None:
        width, height = target_size(source, side if is_width else 0, 0 if is_width else side)
        assert 1 <= width <= MAX_SIDE
        assert 1 <= height <= MAX_SIDE
        if min(width, height) > 1:
            # The rounding of a side moves the other by as much as one is longer than the other.
            off = max(source[0] / source[1], source[1] / source[0]) / 2 + 0.5
            assert abs(width - height * source[0] / source[1]) <= off + 1e-6


class TestVisibleBox:
    @given(sizes, st.tuples(asked, asked), st.sampled_from(Gravity))
    def test_box_is_the_largest_of_the_shape(
        self, source: tuple[int, int], target: tuple[int, int], gravity: Gravity
    ) -> None:
        left, top, right, bottom = visible_box(source, target, gravity)
        assert 0 <= left < right <= source[0]
        assert 0 <= top < bottom <= source[1]
        width, height = right - left, bottom - top
        assert width / height == pytest.approx(target[0] / target[1])
        assert width == pytest.approx(source[0]) or height == pytest.approx(source[1])

    @pytest.mark.parametrize(
        ("gravity", "box"),
        [
            (Gravity.CENTER, (25, 0, 75, 50)),
            (Gravity.TOP, (25, 0, 75, 50)),
            (Gravity.LEFT, (0, 0, 50, 50)),
            (Gravity.BOTTOM_RIGHT, (50, 0, 100, 50)),
        ],
    )
    def test_gravity_says_where_it_lies(self, gravity: Gravity, box: tuple[int, ...]) -> None:
        assert visible_box((100, 50), (10, 10), gravity) == box

    def test_gravity_counts_upright_too(self) -> None:
        assert visible_box((50, 100), (10, 10), Gravity.BOTTOM_LEFT) == (0, 50, 50, 100)


class TestTurnableSize:
    @pytest.mark.parametrize(
        ("size", "degrees", "turnable"),
        [
            ((4000, 4000), 0, (4000, 4000)),
            ((4000, 3000), -90, (4000, 3000)),
            ((300, 200), 45, (300, 200)),
            ((4000, 4000), 45, (2826, 2826)),
            ((4000, 1), 30, (4000, 1)),
        ],
    )
    def test_only_what_would_grow_too_large_shrinks(
        self, size: tuple[int, int], degrees: int, turnable: tuple[int, int]
    ) -> None:
        assert turnable_size(size, degrees) == turnable

    @given(st.tuples(asked, asked), st.integers(-360, 360))
    def test_picture_fits_however_it_is_turned(self, size: tuple[int, int], degrees: int) -> None:
        width, height = turnable_size(size, degrees)
        # The corners, as a point of the plane each.
        corners = [complex(x, y) for x in (0, width) for y in (0, height)]
        turned = [corner * cmath.exp(1j * math.radians(degrees)) for corner in corners]
        for parts in ([point.real for point in turned], [point.imag for point in turned]):
            assert math.ceil(max(parts) - 1e-6) - math.floor(min(parts) + 1e-6) <= MAX_SIDE
