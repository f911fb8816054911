import zlib

import pytest

from benchmarks.payloads import VARIANTS, bodies, hub_frame_size, peer_frame_size


class TestBodies:
    @pytest.mark.parametrize("frame_bytes", [400, 1_600, 8_000])
    def test_of_a_size_become_frames_of_that_size(self, frame_bytes: int) -> None:
        assert {hub_frame_size(body) for body in bodies(frame_bytes, "any")} == {frame_bytes}
        for_peers = bodies(frame_bytes, "any", is_hub=False)
        assert {peer_frame_size(body) for body in for_peers} == {frame_bytes}

    def test_of_a_size_are_all_different(self) -> None:
        assert len(set(bodies(1_600, "any"))) == VARIANTS

    def test_compress_as_texts_do(self) -> None:
        """A payload of one letter would shrink to almost nothing, and the benchmarks would say nothing."""
        body = bodies(8_000, "any")[0]
        assert 0.25 < len(zlib.compress(body, 1)) / len(body) < 0.5

    def test_of_a_size_that_no_event_has_are_refused(self) -> None:
        with pytest.raises(ValueError, match="no event fits"):
            bodies(100, "any")
