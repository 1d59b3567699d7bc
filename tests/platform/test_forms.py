"""Multipart bodies."""

import pytest

from scaimcp.dev.platform.errors import PlatformError
from scaimcp.dev.platform.forms import Part, parse_form

KIND = "multipart/form-data; boundary=xx"


def form(*sections: bytes) -> bytes:
    return b"".join(b"--xx\r\n" + section + b"\r\n" for section in sections) + b"--xx--\r\n"


def test_fields_and_files_are_split() -> None:
    body = form(
        b'Content-Disposition: form-data; name="a"\r\n\r\none',
        b'Content-Disposition: form-data; name="a"\r\n\r\ntwo\r\nlines',
        b'Content-Disposition: form-data; name="f"; filename="x \\"1\\".wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n\x00\r\n--x\xff",
    )
    parsed = parse_form('multipart/form-data; boundary="xx"', body)
    assert parsed["a"] == ["one", "two\r\nlines"]
    assert parsed["f"] == [Part('x "1".wav', "audio/wav", b"\x00\r\n--x\xff")]


def test_names_and_file_names_may_be_escaped() -> None:
    body = form(
        b"Content-Disposition: form-data; name=g%5B%5D\r\n\r\nx",
        b"Content-Disposition: form-data; name=\"f\"; filename*=UTF-8''%C3%A9.wav\r\n\r\ny",
    )
    parsed = parse_form(KIND, body)
    assert parsed["g[]"] == ["x"]
    assert parsed["f"] == [Part("é.wav", "application/octet-stream", b"y")]


def test_an_empty_form_has_no_fields() -> None:
    assert parse_form(KIND, b"--xx--\r\n") == {}


@pytest.mark.parametrize(
    ("kind", "body", "code"),
    [
        ("application/json", b"{}", "UNSUPPORTED_MEDIA_TYPE"),
        ("multipart/form-data", b"", "UNSUPPORTED_MEDIA_TYPE"),
        (KIND, b"", "VALIDATION_ERROR"),
        (KIND, b"--xx\r\nContent-Disposition: form-data; name=a\r\n\r\nx", "VALIDATION_ERROR"),
        (KIND, form(b"Content-Disposition: form-data\r\n\r\nx"), "VALIDATION_ERROR"),
        (KIND, form(b'Content-Disposition: form-data; name="a"'), "VALIDATION_ERROR"),
        (KIND, form(b'Content-Disposition: form-data; name="a"\r\n\r\n\xff'), "VALIDATION_ERROR"),
    ],
)
def test_a_body_that_is_no_form_is_refused(kind: str, body: bytes, code: str) -> None:
    with pytest.raises(PlatformError) as caught:
        parse_form(kind, body)
    assert caught.value.code == code
