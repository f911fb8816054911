"""What archives of deployments are accepted."""

import contextlib
import gzip
import io
import tarfile
import tracemalloc
import zlib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.functions import archives
from workers.functions.archives import InvalidArchiveError, check_archive


def member(name: str, *, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def symlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def hardlink(name: str, target: str) -> tarfile.TarInfo:
    return member(name, kind=tarfile.LNKTYPE, link=target)


def folder(name: str) -> tarfile.TarInfo:
    return member(name, kind=tarfile.DIRTYPE)


def packed(members: Iterable[tarfile.TarInfo], *, form: int = tarfile.PAX_FORMAT) -> bytes:
    """Return a tar.gz with these members, all bytes of which are zero."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(bytes(each.size)))
    return gzip.compress(file.getvalue())


def check(content: bytes) -> None:
    check_archive(io.BytesIO(content))


class TestAccepted:
    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    def test_files_folders_and_links_within_it_pass(self, form: int) -> None:
        members = [
            member("src", kind=tarfile.DIRTYPE),
            member("src/main.py", size=100_000),
            member("./package.json", size=10),
            member("src/same.py", kind=tarfile.SYMTYPE, link="main.py"),
            member("src/twin.py", kind=tarfile.LNKTYPE, link="src/main.py"),
        ]
        check(packed(members, form=form))

    def test_links_of_installed_packages_pass(self) -> None:
        check(
            packed(
                [
                    folder("./"),
                    member("./node_modules/tool/bin/tool.js"),
                    symlink("./node_modules/.bin/tool", "../tool/bin/tool.js"),
                    symlink("./current", "node_modules/.bin/tool"),
                ]
            )
        )

    @pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
    def test_long_names_and_other_scripts_pass(self, form: int) -> None:
        check(packed([member("d/" * 60 + "ä" * 80, size=1), member("after", size=1)], form=form))

    def test_what_any_tar_makes_of_several_files_passes(self) -> None:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w:gz") as tar:
            for number in range(50):
                tar.addfile(member(f"f{number}", size=number), io.BytesIO(bytes(number)))
        check(file.getvalue())


class TestRefused:
    @pytest.mark.parametrize(
        "made",
        [
            member("../outside"),
            member("inside/../../outside"),
            member("/etc/passwd"),
            member("link", kind=tarfile.SYMTYPE, link="/etc/passwd"),
            member("link", kind=tarfile.SYMTYPE, link="../outside"),
            member("link", kind=tarfile.LNKTYPE, link="../outside"),
        ],
    )
    def test_member_that_leads_out_is_refused(self, made: tarfile.TarInfo) -> None:
        with pytest.raises(InvalidArchiveError, match="leads out of it"):
            check(packed([member("fine"), made]))

    @pytest.mark.parametrize(
        "members",
        [
            pytest.param(
                [folder("d"), symlink("d/l", ".."), symlink("up", "d/l/.."), member("up/outside")],
                id="links in a row",
            ),
            pytest.param([folder("d"), symlink("up", "d/l/.."), symlink("d/l", "..")], id="later link"),
            pytest.param([folder("d"), symlink("l", "d"), member("./l//file")], id="below a link"),
            pytest.param([symlink("d/l", "../x"), hardlink("l", "d/l")], id="link moved up"),
            pytest.param(
                [folder("d"), symlink("d/l", "."), hardlink("x", "d/l/x")], id="twin through a link"
            ),
        ],
    )
    def test_way_through_a_link_is_refused(self, members: list[tarfile.TarInfo]) -> None:
        with pytest.raises(InvalidArchiveError, match="leads through a link"):
            check(packed(members))

    @pytest.mark.parametrize("name", ["./", "d/.."])
    def test_link_in_place_of_the_archive_is_refused(self, name: str) -> None:
        with pytest.raises(InvalidArchiveError, match="leads out of it"):
            check(packed([symlink(name, "d")]))

    @given(
        st.lists(
            st.builds(
                lambda make, name, target: make(name, target),
                st.sampled_from(
                    [symlink, hardlink, lambda name, _: folder(name), lambda name, _: member(name)]
                ),
                st.sampled_from(["a", "b", "a/b", "b/a", "a/b/c", "b/a/c", "./a/c", "a/../b"]),
                st.sampled_from(["a", "b", "a/b", "..", "../..", "../a", "b/a", "a/..", "a/b/../..", "."]),
            ),
            max_size=6,
        )
    )
    @settings(max_examples=300, deadline=None)
    def test_what_is_accepted_unpacks_within_its_folder(self, members: list[tarfile.TarInfo]) -> None:
        content = packed(members)
        try:
            check(content)
        except InvalidArchiveError:
            return
        with TemporaryDirectory() as outside:
            inside = Path(outside).resolve() / "w/x/y/z/inside"
            inside.mkdir(parents=True)
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                for each in tar:
                    # A file in the place of a folder, or a link to itself, stops whoever unpacks it.
                    with contextlib.suppress(OSError, KeyError, RuntimeError):
                        tar.extract(each, inside, filter="fully_trusted")
            assert [path.name for path in inside.parent.rglob("*") if inside not in path.parents] == [
                "inside"
            ]
            for path in inside.rglob("*"):
                assert path.is_relative_to(inside)
                with contextlib.suppress(RuntimeError, OSError):
                    assert path.resolve().is_relative_to(inside)

    @pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
    def test_device_is_refused(self, kind: bytes) -> None:
        with pytest.raises(InvalidArchiveError):
            check(packed([member("device", kind=kind)]))

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"", id="empty"),
            pytest.param(b"PK\x03\x04 a zip", id="zip"),
            pytest.param(gzip.compress(b""), id="gzip of nothing"),
            pytest.param(gzip.compress(b"no archive" * 1000), id="gzip of a text"),
            pytest.param(packed([member("main.py", size=10)])[:-5], id="without its end"),
            pytest.param(packed([member("main.py", size=10_000)])[:60], id="its beginning"),
            pytest.param(zlib.compress(b"x"), id="zlib"),
        ],
    )
    def test_what_is_no_archive_is_refused(self, content: bytes) -> None:
        with pytest.raises(InvalidArchiveError):
            check(content)

    def test_plain_tar_is_refused(self) -> None:
        with pytest.raises(InvalidArchiveError, match=r"no tar\.gz"):
            check(gzip.decompress(packed([member("main.py")])))

    def test_archive_without_members_is_refused(self) -> None:
        with pytest.raises(InvalidArchiveError, match="empty"):
            check(packed([]))

    def test_every_cut_and_flipped_byte_is_refused_or_harmless(self) -> None:
        whole = packed([member("src/main.py", size=50), member("b", size=3)])
        for place in range(len(whole)):
            for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]):
                try:
                    check(content)
                except InvalidArchiveError:
                    continue


class TestBounds:
    def test_too_many_members_are_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
        check(packed(member(f"f{number}") for number in range(3)))
        with pytest.raises(InvalidArchiveError, match="more than 3 members"):
            check(packed(member(f"f{number}") for number in range(4)))

    def test_bomb_is_refused_by_what_it_claims(self) -> None:
        # A terabyte, of which nothing is there.
        header = member("zeros", size=2**40).tobuf(format=tarfile.GNU_FORMAT)
        with pytest.raises(InvalidArchiveError, match="larger than"):
            check(gzip.compress(header))

    def test_sparse_file_is_refused(self) -> None:
        # A terabyte, of which nothing is stored.
        header = bytearray(member("big").tobuf(tarfile.GNU_FORMAT))
        header[156:157] = tarfile.GNUTYPE_SPARSE
        header[386:410] = b"00000000000\0" * 2
        header[483:495] = bytes([0x80]) + (2**40).to_bytes(11, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        with pytest.raises(InvalidArchiveError, match="sparse"):
            check(gzip.compress(bytes(header) + bytes(1024)))

    @pytest.mark.parametrize(
        "claims",
        [
            {"GNU.sparse.size": "1099511627776", "GNU.sparse.map": "0,0", "GNU.sparse.numblocks": "1"},
            {"GNU.sparse.realsize": "1099511627776"},
        ],
    )
    def test_sparse_file_by_its_attributes_is_refused(self, claims: dict[str, str]) -> None:
        made = member("big")
        made.pax_headers = claims
        with pytest.raises(InvalidArchiveError, match="sparse"):
            check(packed([made]))

    def test_sizes_of_members_add_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 100_000)
        # Without what follows the last header, so that only what they say is there to be counted.
        plain = gzip.decompress(packed([member("a", size=60_000), member("b", size=60_000)]))
        with pytest.raises(InvalidArchiveError, match="larger than"):
            check(gzip.compress(plain[: 60_928 + 1_024]))

    @pytest.mark.parametrize("path", ["d/" * 200 + "f", "d" * 5_000])
    def test_path_that_nobody_could_unpack_is_refused(self, path: str) -> None:
        with pytest.raises(InvalidArchiveError, match="too long"):
            check(packed([member(path)]))
        with pytest.raises(InvalidArchiveError, match="too long"):
            check(packed([symlink("l", path)]))

    def test_bomb_behind_the_end_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1_000_000)
        plain = gzip.decompress(packed([member("main.py", size=1)]))
        with pytest.raises(InvalidArchiveError, match="larger than"):
            check(gzip.compress(plain + bytes(2_000_000)))

    @pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
    def test_header_that_would_fill_the_memory_is_refused(self, kind: bytes) -> None:
        header = member("long", kind=kind, size=500_000_000).tobuf(format=tarfile.GNU_FORMAT)
        compressor = zlib.compressobj(wbits=31)
        bomb = compressor.compress(header) + b"".join(
            compressor.compress(bytes(1_000_000)) for _ in range(50)
        )
        tracemalloc.start()
        try:
            with pytest.raises(InvalidArchiveError, match="headers are too large"):
                check(bomb + compressor.flush())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 5_000_000
