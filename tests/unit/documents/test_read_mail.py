"""E-mail of many shapes, made by the standard library or written out by hand."""

from email.message import EmailMessage
from pathlib import Path

import pytest

from tailorbird.documents.read_result import Notes, ReadOptions, Unreadable
from tailorbird.documents.readers import read_file
from tailorbird.records import Document

HEAD = "From: Ann <ann@sea.org>\nTo: bo@sea.org\nDate: Mon, 16 Dec 2024 10:30:00 +0000\n"


def read(path: Path, data: bytes) -> tuple[list[Document], Notes]:
    path.write_bytes(data)
    return read_file(path, path.name, ReadOptions())


def letter(subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["Subject"] = "Ann <ann@sea.org>", subject
    message.set_content(text)
    return message


@pytest.mark.parametrize("blank", ["", " \n", "\u00a0\u200b\n", "--\n"])
def test_a_blank_plain_version_gives_way(tmp_path: Path, blank: str) -> None:
    message = letter("Ferry", blank)
    message.add_alternative("<p>The ferry leaves from quay nine.</p>", subtype="html")
    (document,), _ = read(tmp_path / "a.eml", bytes(message))
    assert document.text.endswith("The ferry leaves from quay nine.")


def test_of_two_versions_the_plain_one(tmp_path: Path) -> None:
    message = letter("Ferry", "Quay nine.")
    message.add_alternative("<p>Quay <b>nine</b>!</p>", subtype="html")
    (document,), _ = read(tmp_path / "a.eml", bytes(message))
    assert document.text.endswith("Quay nine.") and "!" not in document.text


def test_every_text_part_is_read_and_files_are_named(tmp_path: Path) -> None:
    message = letter("Ferry", "Above the picture.")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="map.png")
    message.add_attachment("Below the picture.", disposition="inline")
    message.add_attachment("rows", filename="list \u00e9t\u00e9.csv", subtype="csv")
    (document,), notes = read(tmp_path / "a.eml", bytes(message))
    assert "Above the picture." in document.text and "Below the picture." in document.text
    assert document.metadata["attachments"] == "map.png, list \u00e9t\u00e9.csv"
    assert notes == ["attachments are not read: map.png, list \u00e9t\u00e9.csv"]


def test_a_forwarded_message_is_read(tmp_path: Path) -> None:
    inner = letter("Anchors", "The anchor weighs forty pounds.")
    inner.add_attachment(b"x", maintype="application", subtype="pdf", filename="a.pdf")
    message = letter("Fwd", "See below.")
    message.add_attachment(inner)
    (document,), notes = read(tmp_path / "a.eml", bytes(message))
    assert "See below." in document.text and "The anchor weighs forty pounds." in document.text
    assert document.marks[-1].headings == ("Anchors",)
    assert notes == ["attachments are not read: a.pdf"]


def test_a_digest(tmp_path: Path) -> None:
    parts = "".join(
        f"--X\n\nFrom: {who}@sea.org\nSubject: {what}\n\nOn {what}.\n\n"
        for who, what in (("cy", "sails"), ("di", "oars"))
    )
    data = f"{HEAD}Subject: Digest\nContent-Type: multipart/digest; boundary=X\n\n{parts}--X--\n"
    (document,), _ = read(tmp_path / "a.eml", data.encode())
    assert "From: cy@sea.org\n\nOn sails." in document.text
    assert "From: di@sea.org\n\nOn oars." in document.text


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        (b"=?koi8-r?B?8NLJ18XU?=", "Привет"),
        (b"=?iso-8859-1?Q?caf=E9_=93open=94?=", "café “open”"),
        (b"=?utf-8?Q?gr=C3=BC?= =?utf-8?Q?n?=", "grün"),
        (b"=?x-unknown?Q?plain?=", "plain"),
        ("Привет, мир".encode("cp1251"), "Привет, мир"),  # bare bytes, in the text's encoding
        ("grün".encode(), "grün"),
    ],
)
def test_words_of_a_header(tmp_path: Path, subject: bytes, words: str) -> None:
    data = HEAD.encode() + b"Subject: " + subject
    data += b"\nContent-Type: text/plain; charset=windows-1251\n\n" + "Текст.".encode("cp1251")
    (document,), _ = read(tmp_path / "a.eml", data)
    assert document.title == words and document.text.endswith("Текст.")


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be", "gb2312", "cp850"])
def test_a_text_in_an_encoding(tmp_path: Path, codec: str) -> None:
    import base64

    text = "渡轮明天早上八点从九号码头出发。" if codec == "gb2312" else "Die Fähre legt früh ab."
    label = "utf-16" if codec.startswith("utf-16") else codec
    data = f"{HEAD}Content-Type: text/plain; charset={label}\nContent-Transfer-Encoding: base64\n\n"
    body = base64.encodebytes(text.encode(codec))
    (document,), _ = read(tmp_path / "a.eml", data.encode() + body)
    assert document.text.endswith(text)


def test_a_mailbox(tmp_path: Path) -> None:
    data = (
        "From ann@sea.org Mon Dec 16 10:30:00 2024\nSubject: One\nMessage-ID: <1@sea.org>\n\n"
        "First.\n>From here on it rains.\n\nFrom now on it snows.\n\n"
        "From bo@sea.org Tue Dec 17 10:30:00 2024\nSubject: Two\n\nSecond.\n"
    )
    documents, _ = read(tmp_path / "a.mbox", data.encode())
    assert [d.source for d in documents] == ["a.mbox#1@sea.org", "a.mbox#2"]
    assert documents[0].text == "First.\nFrom here on it rains.\n\nFrom now on it snows."
    assert [d.title for d in documents] == ["One", "Two"]
    with pytest.raises(Unreadable, match="not a mailbox"):
        read(tmp_path / "b.mbox", b"Subject: x\n\nwords\n")


def test_what_is_encrypted_is_told(tmp_path: Path) -> None:
    head = f"{HEAD}Subject: Secret\nContent-Type: multipart/encrypted; boundary=X\n\n"
    body = "--X\nContent-Type: application/octet-stream\n\nabc\n--X--\n"
    _, notes = read(tmp_path / "a.eml", (head + body).encode())
    assert notes == ["encrypted parts are not read"]


def test_messages_within_messages_end(tmp_path: Path) -> None:
    data = "".join(f"Subject: {n}\nContent-Type: message/rfc822\n\n" for n in range(60))
    (document,), notes = read(tmp_path / "a.eml", f"{data}Subject: last\n\nwords\n".encode())
    assert document.title == "0" and "nested deeper" in notes[0]


def test_a_file_name_in_bare_bytes(tmp_path: Path) -> None:
    data = HEAD.encode() + b"Content-Type: multipart/mixed; boundary=X\n\n--X\n\nwords\n--X\n"
    data += (
        b'Content-Type: image/png\nContent-Disposition: attachment; filename="Gr\xfc\xdfe.png"\n'
    )
    (document,), _ = read(tmp_path / "a.eml", data + b"\nabc\n--X--\n")
    assert document.metadata["attachments"] == "Gr\u00fc\u00dfe.png"
