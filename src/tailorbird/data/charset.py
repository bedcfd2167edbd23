"""Encoding detection: byte order mark, UTF-8, zero bytes, else the most likely code page.

charset-normalizer (MIT; it decodes more code pages correctly than chardet's LGPL releases did)
proposes code pages. Among equally likely ones, the one whose letters belong to one language is
chosen, and Windows code pages before rarer ones.
"""

import codecs
import contextlib
import re
from dataclasses import dataclass

MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""Byte order marks."""

SAMPLE_BYTES = 1 << 16
_WINDOWS = "cp1252 cp1250 cp1251 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 cp874"
_ISO = "2 5 6 7 8 9 13 15 16 4"
_OLDER = (
    "koi8_r koi8_u cp866 mac_cyrillic mac_roman mac_latin2 mac_greek mac_turkish "
    "cp850 cp437 cp852 cp855 cp737 cp862 cp864 cp857 cp775"
)
_NARROW = [*_WINDOWS.split(), *(f"iso8859_{n}" for n in _ISO.split()), *_OLDER.split()]
# A code page is a superset of its older form, so the larger one reads both.
_LARGER = {
    "shift_jis": "cp932", "gb2312": "gb18030", "gbk": "gb18030", "big5": "big5hkscs",
    "euc_kr": "cp949", "ascii": "cp1252", "iso8859_1": "cp1252", "iso8859_9": "cp1254",
    "iso8859_11": "cp874", "tis_620": "cp874",
}  # fmt: skip
_WIDE = [
    *("cp932", "shift_jis", "euc_jp", "gb18030", "gbk", "big5", "big5hkscs"),
    *("euc_kr", "cp949", "johab"),
]
_LATIN = (
    *("äöüß", "àâæçéèêëîïôœùûüÿ", "áéíñóúü¿¡ªº", "àáâãçéêíóôõúüªº", "àèéìòùî", "áèéëïóöü"),
    *("åäöéæø", "áæðéíóöúýþ", "ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž"),
    *("áéíóöőúüű", "ăâîșțşţ", "čćđšž", "çğıöşüâîûİ", "ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž"),
    "ăâđêôơưàáãèéìíòóõùúýĩũ\u0300\u0301\u0303\u0309\u0323",
)
_OTHER = (
    *("а-яё", "а-щьюяєіїґ’", "а-яўіё", "а-ъьюя", "абвгдежзиклмнопрстћуфхцчшђјљњџ"),
    *("α-ωάέήίόύώϊϋΐΰς", "א-ת\u05b0-\u05c7", "ء-ي\u064b-\u0652ـ،؛؟پچژگکی", "ก-ฺเ-๎๐-๙"),
)
_HANGUL = re.compile("[\uac00-\ud7a3]")
_EASTERN = [
    re.compile(f"[{letters}]")
    for letters in ("\u3041-\u30ff", "\u4e00-\u9fff", "\u3000-\u301f\uff00-\uff60…—")
]
_MARKINGS = "„“”’‘‚–—…«»‹›§°€£©®·•№™\xa0"
_FOREIGN = re.compile(f"[^\x00-\x7f{_MARKINGS}]")
_LATIN_LETTERS = [re.compile(f"[{letters}]") for letters in _LATIN]
# Letters of another script do not occur within a Latin word.
_OTHER_LETTERS = [re.compile(f"(?<![a-z])[{letters}](?![a-z])") for letters in _OTHER]
# Places where no mark or capital occurs: within a word, or a dash right before one.
_MISPLACED = re.compile(
    r"(?<=[^\W\d_])[„“”‘‚«»‹›§°€£©®·•№™](?=[^\W\d_])|(?<![\w\s])[—–](?=\w)|(?<=\s)[—–](?=\w)|^[—–](?=\w)"
)
_HIGH = re.compile(rb"[\x80-\xff]")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0e-\x19\x1c-\x1f]")
_ASCII_END = re.compile(rb"[\x40-\xff]{1,64}\Z")
_ESCAPED = re.compile(rb"\x1b(?:\$[@AB]|\$\([CDOPQ]|\([JI]|\$\)C)")
_FEW_BYTES, _FEW_SHARE = 12, 0.02
_SURE = 0.9
_SURE_LETTERS = 3


class NotText(ValueError):
    """The bytes are not text."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """A detected encoding.

    Attributes:
        codec: Python's name of it.
        sure: Whether the decoded text looks like one.
    """

    codec: str
    guessed: bool = False
    sure: bool = True

    @property
    def name(self) -> str:
        """Its usual name."""
        if match := re.fullmatch(r"cp(125\d)", self.codec):
            return f"Windows-{match[1]}"
        if match := re.fullmatch(r"iso8859_(\d+)", self.codec):
            return f"ISO-8859-{match[1]}"
        return self.codec.replace("_", "-").upper()


UTF8 = Encoding("utf-8")


def by_mark(data: bytes) -> tuple[int, str] | None:
    """Return length and codec of the byte order mark, if there is one."""
    return next(((len(mark), codec) for mark, codec in MARKS if data.startswith(mark)), None)


def codec_of(label: str) -> str | None:
    """Return the codec of a declared encoding, or None if it is unknown.

    As in browsers, the larger code page replaces its subset: Windows-1252 for Latin-1.
    """
    try:
        codec = codecs.lookup(label.strip().strip("\"'"))
    except (LookupError, ValueError):
        return None
    name = codec.name.replace("-", "_")
    if not codec._is_text_encoding or name in ("idna", "punycode", "unicode_escape"):
        return None
    return _LARGER.get(name, codec.name)


def is_foreign(data: bytes) -> bool:
    """Return whether bytes contain more than ASCII, so that their encoding matters."""
    return not data.isascii() or _ESCAPED.search(data) is not None


def encoding_of(data: bytes) -> Encoding:
    """Detect the encoding of bytes without a byte order mark.

    Raises:
        NotText: They contain NUL bytes in other places than UTF-16 or UTF-32.
    """
    sample = data[:SAMPLE_BYTES]
    if b"\0" in sample:
        wide = _by_zeros(sample)
        if wide is None:
            raise NotText("binary, not text: it holds NUL bytes")
        return Encoding(wide, guessed=True)
    if not is_foreign(data):
        return UTF8
    if escape := _ESCAPED.search(data):
        return Encoding("iso2022_kr" if escape[0] == b"\x1b$)C" else "iso2022_jp_ext", guessed=True)
    try:
        data.decode("utf-8")
        return UTF8
    except UnicodeDecodeError as error:
        mended = data.decode("utf-8", "replace")
        whole, bad = len(re.findall("[^\x00-\x7f\ufffd]", mended)), mended.count("\ufffd")
        # UTF-8 with a few damaged bytes or a truncated letter, which any code page would garble.
        if whole >= bad or (error.reason == "unexpected end of data" and bad == 1):
            return UTF8
    return _of_one_script(sample) or _likeliest(_foreign_lines(data))


def _by_zeros(sample: bytes) -> str | None:
    """Return the UTF-16 or UTF-32 variant whose zero bytes are in these places."""
    quarters = [sample[i::4].count(0) / max(1, len(sample[i::4])) for i in range(4)]
    if len(sample) >= 8 and min(quarters[2:]) > 0.9 > quarters[0]:
        return "utf-32-le" if quarters[3] == 1 else None
    if len(sample) >= 8 and min(quarters[:2]) > 0.9 > quarters[3]:
        return "utf-32-be" if quarters[0] == 1 else None
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) / 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.4 * half and odd < 0.05 * half:
        return "utf-16-be"
    encoding = _of_one_script(sample)
    return encoding.codec if encoding else None


def _of_one_script(sample: bytes) -> Encoding | None:
    """Return the UTF-16 variant that decodes nearly all letters to one script, or None."""
    even = sample[: len(sample) // 2 * 2]
    # In any other encoding one in eight bytes is a control character.
    if len(_CONTROLS.findall(even)) < 0.01 * len(even):
        return None
    for codec in ("utf-16-le", "utf-16-be"):
        text = even.decode(codec, "replace")
        plain = sum(char in "\n\r\t" or " " <= char < "\x7f" for char in text)
        scripts = _SCRIPTS.findall(text)
        largest = max((sum(map(len, runs)) for runs in zip(*scripts, strict=True)), default=0)
        if text and plain + largest >= 0.9 * len(text):
            return Encoding(codec, guessed=True)
    return None


_SCRIPTS = re.compile(
    "([\u00a0-\u024f]+)|([\u0370-\u03ff]+)|([\u0400-\u052f]+)|([\u0590-\u05ff]+)"
    "|([\u0600-\u06ff]+)|([\u0900-\u097f]+)|([\u0e00-\u0e7f]+)"
    "|([\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]+)|([\u3000-\u303f\uac00-\ud7a3]+)"
)


def _foreign_lines(data: bytes) -> bytes:
    """Return non-ASCII lines, as many as detection needs."""
    if len(data) <= SAMPLE_BYTES:
        return data
    lines, size = [], 0
    for line in data.split(b"\n"):
        if not line.isascii():
            # A long line is cut between characters.
            long = len(line) > SAMPLE_BYTES // 4
            lines.append(_ASCII_END.sub(b"", line[: SAMPLE_BYTES // 4]) if long else line)
            size += len(lines[-1])
            if size > SAMPLE_BYTES:
                break
    return b"\n".join(lines)


def _likeliest(sample: bytes) -> Encoding:
    """Return the code page whose text looks most natural."""
    high = len(_HIGH.findall(sample))
    western = sample.decode("cp1252", "replace")
    few = high <= _SURE_LETTERS or high < min(_FEW_BYTES, _FEW_SHARE * len(sample))
    if few and "\ufffd" not in western and (fit := _fit(western)) >= 0.5:
        return Encoding("cp1252", guessed=True, sure=fit >= _SURE)
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample, cp_isolation=[*_NARROW, *_WIDE], threshold=0.25))
    wide = [match.encoding for match in matches if match.encoding in _WIDE]
    if wide and matches[0].encoding in _WIDE:
        fits = {name: _fit_of_wide(sample.decode(name, "ignore")) for name in wide}
        best = max(wide, key=lambda name: fits[name])  # the first on ties
        sure = fits[best] >= _SURE and high >= 2 * _SURE_LETTERS
        return Encoding(_LARGER.get(best, best), guessed=True, sure=sure)
    names = [name for match in matches for name in (match.encoding, *match.could_be_from_charset)]
    names.append("cp862")  # would be detected as Russian capitals
    fits = {}
    for name in filter(_NARROW.__contains__, names):
        with contextlib.suppress(UnicodeDecodeError):
            fits[name] = _fit(sample.decode(name))
    top = max(fits.values(), default=0.0)
    if top < _SURE and fits.get("cp1252", 0.0) >= top - 0.2:
        return Encoding("cp1252", guessed=True, sure=False)
    near = [name for name, fit in fits.items() if fit >= top - 0.02]
    first = sample.decode(near[0])
    # Letter frequencies distinguish scripts; for nearly equal texts, the usual code page is chosen.
    alike = [
        name
        for name in near
        if sum(map(str.__eq__, first, sample.decode(name))) > 0.8 * max(1, len(first))
    ]
    codec = min(alike, key=_NARROW.index)
    sure = top >= _SURE and (codec == "cp1252" or high >= _SURE_LETTERS)
    return Encoding(codec, guessed=True, sure=sure)


def _fit(text: str) -> float:
    """Return the share of the non-ASCII letters that belong to one language."""
    low = text.lower()
    foreign = _FOREIGN.findall(low)
    opened, closed = text.count("„"), len(re.findall("[“”]", text))
    odd = 2 * len(_MISPLACED.findall(text)) + 2 * max(0, opened - closed)
    if not foreign:
        return 1.0 - odd / max(1, sum(not char.isascii() for char in text))
    letters = max(len(p.findall(low)) for p in (*_LATIN_LETTERS, *_OTHER_LETTERS))
    odd += sum(
        a.islower() and b.isupper() and not (a + b).isascii()
        for a, b in zip(text, text[1:], strict=False)
    )
    shouted = text.upper() == text and len(foreign) > _FEW_BYTES and low != text
    return (letters - odd) / len(foreign) - 0.2 * shouted


def _fit_of_wide(text: str) -> float:
    """Return the largest share of the non-ASCII characters in one of three scripts."""
    foreign = sum(not char.isascii() for char in text)
    # Syllables outside the Korean standard are typical of other text misread as Korean.
    hangul = sum(len(char.encode("euc_kr")) == 2 for char in _HANGUL.findall(text))
    kana, han, marks = (len(letters.findall(text)) for letters in _EASTERN)
    # Japanese mixes scripts; half-width kana are typical of other encodings misread as it.
    chinese = han if kana < 0.02 * foreign else 0
    japanese = kana + han if kana >= 0.1 * foreign else 0
    return (max(hangul, chinese, japanese) + marks) / max(1, foreign)
