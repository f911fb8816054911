"""What kind of file some bytes are taken for."""

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workers.files.types import HEAD_BYTES, UNKNOWN, media_type_of


def picture(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, kind)
    return file.getvalue()


def archive(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name in names:
            opened.writestr(name, "x")
    return file.getvalue()


DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


class TestMediaTypeOf:
    @pytest.mark.parametrize(
        ("head", "name", "expected"),
        [
            (picture("PNG"), "a.png", "image/png"),
            (picture("PNG"), "a.jpg", "image/png"),
            (picture("PNG"), "without", "image/png"),
            (picture("JPEG"), "a.png", "image/jpeg"),
            (picture("GIF"), "a", "image/gif"),
            (picture("WEBP"), "a", "image/webp"),
            (picture("AVIF"), "a", "image/avif"),
            (b"%PDF-1.7\n", "a", "application/pdf"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a", "video/mp4"),
            (archive("a"), "a.zip", "application/zip"),
            (archive("a"), "a", "application/zip"),
            (archive("a"), "a.docx", DOCX),
            (b"<!DOCTYPE html><script>1</script>", "a", "text/html"),
            (b"<!DOCTYPE html><script>1</script>", "a.png", "text/html"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg", "image/svg+xml"),
            (b"a,b\n1,2\n", "a.csv", "text/csv"),
            (b'{"a": 1}', "a.json", "application/json"),
            (b"import this\n", "a.txt", "text/plain"),
            (b"BM is how this begins", "a.txt", "text/plain"),
            ("grüße".encode(), "letter", "text/plain"),
            ("grüße".encode()[:3], "letter", "text/plain"),
            (b"\x00\x9c\x00\x9d", "a", UNKNOWN),
            (b"\x00\x9c\x00\x9d", "a.unknown", UNKNOWN),
            (b"", "a", "text/plain"),
        ],
    )
    def test_bytes_count_and_then_the_name(self, head: bytes, name: str, expected: str) -> None:
        assert media_type_of(head, name) == expected

    @given(st.binary(max_size=HEAD_BYTES // 32), st.text(max_size=40))
    def test_every_file_has_a_media_type(self, head: bytes, name: str) -> None:
        kind, slash, subkind = media_type_of(head, name).partition("/")
        assert kind
        assert slash
        assert subkind
