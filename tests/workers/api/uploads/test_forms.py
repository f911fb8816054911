"""Forms as they arrive, in pieces of any size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.uploads import forms
from workers.api.uploads.forms import Form, InvalidFormError

TYPE = "multipart/form-data; boundary=edge"


def part(name: str, value: bytes, file_name: str | None = None, content_type: str = "") -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"'
    if file_name is not None:
        head += f'; filename="{file_name}"'
    if content_type:
        head += f"\r\nContent-Type: {content_type}"
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


END = b"--edge--\r\n"


def read(body: bytes, size: int = 65_536) -> tuple[Form, dict[str, str | list[str]], bytes]:
    form = Form(TYPE, "file")
    blocks = [form.feed(body[start : start + size]) for start in range(0, len(body), size)]
    return form, dict(form.finish()), b"".join(blocks)


class TestForm:
    def test_what_the_sdks_send_is_read(self) -> None:
        form, fields, data = read(
            part("fileId", b"unique()")
            + part("file", b"bytes", "photo.jpg", "image/jpeg")
            + part("permissions[]", b'read("any")')
            + part("permissions[]", b'update("users")')
            + END
        )
        assert fields == {"fileId": "unique()", "permissions": ['read("any")', 'update("users")']}
        assert (form.file_name, form.file_type, data) == ("photo.jpg", "image/jpeg", b"bytes")

    def test_members_of_a_list_may_be_numbered(self) -> None:
        _, fields, _ = read(part("permissions[0]", b"a") + part("permissions[1]", b"b") + END)
        assert fields == {"permissions": ["a", "b"]}

    @given(
        data=st.binary(max_size=300),
        value=st.text(alphabet="aä-\r\n", max_size=20),
        size=st.integers(1, 100),
    )
    def test_it_is_the_same_in_pieces_of_any_size(self, data: bytes, value: str, size: int) -> None:
        _, fields, found = read(part("file", data, "x") + part("note", value.encode()) + END, size)
        assert found == data
        assert fields == {"note": value}

    def test_a_boundary_like_file_is_not_cut(self) -> None:
        data = b"--edge\r\n\r\n--edge \r\n--edg\r\n\r\n"
        body = part("file", data.replace(b"--edge", b"--edgy"), "x") + END
        assert read(body, 3)[2] == data.replace(b"--edge", b"--edgy")

    def test_field_that_is_given_again_makes_a_list(self) -> None:
        body = part("a", b"1") + part("a", b"2") + part("a", b"3") + part("b", b"4") + END
        assert read(body)[1] == {"a": ["1", "2", "3"], "b": "4"}

    def test_names_are_utf_8(self) -> None:
        assert read(part("file", b"x", "Übersicht.pdf") + END)[0].file_name == "Übersicht.pdf"

    @pytest.mark.parametrize(
        "content_type", ["", "application/json", "multipart/form-data", "multipart/form-data; boundary="]
    )
    def test_what_is_no_form_is_refused(self, content_type: str) -> None:
        with pytest.raises(InvalidFormError, match="multipart/form-data"):
            Form(content_type, "file")

    def test_a_boundary_that_is_too_long_is_refused(self) -> None:
        with pytest.raises(InvalidFormError, match="Boundary"):
            Form(f"multipart/form-data; boundary={'x' * 1000}", "file")

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "ends too early"),
            (part("file", b"bytes", "x"), "ends too early"),
            (b"no form at all", "no well-formed"),
            (b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n" + END, "has no name"),
            (part("file", b"a", "x") + part("file", b"b", "x") + END, "one file"),
            (part("other", b"a", "x") + END, "one file, called file"),
            (part("name", b"\x00") + END, "NUL"),
            (part("name", b"\xff") + END, "UTF-8"),
            (part("a", b"1") + part("a[]", b"2") + END, "both as a value and as a list"),
            (part("name", b"x" * (forms.MAX_FIELD_BYTES + 1)) + END, "larger than"),
            (b"".join(part("a[]", b"") for _ in range(forms.MAX_FIELDS + 1)) + END, "more than 256"),
            (b"--edge\r\nX: " + b"x" * 9_000, "no well-formed"),
        ],
    )
    def test_a_body_that_breaks_a_rule_is_refused(self, body: bytes, reason: str) -> None:
        with pytest.raises(InvalidFormError, match=reason):
            read(body)

    @given(st.lists(st.sampled_from([
        b"--edge", b"--edge--", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="file"', b"; filename=x",
        b":", b"x", b"\x00", b"\xff", b'"',
    ]), max_size=30))  # fmt: skip
    def test_any_body_is_read_or_refused(self, words: list[bytes]) -> None:
        try:
            read(b"".join(words), 7)
        except InvalidFormError:
            return
