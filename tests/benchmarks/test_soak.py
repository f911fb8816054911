import pytest

from benchmarks.soak import slope_of


class TestSlopeOf:
    def test_of_points_on_a_line_is_that_of_the_line(self) -> None:
        slope = slope_of([(x, 3.0 * x + 7) for x in range(10)])
        assert slope.per_s == pytest.approx(3)
        assert slope.error == pytest.approx(0, abs=1e-9)

    def test_of_noise_is_within_its_error(self) -> None:
        slope = slope_of([(x, (-1) ** x) for x in range(100)])
        assert abs(slope.per_s) < 2 * slope.error
