"""Texts in many encodings, each written by Python's own codecs, are decoded as they were."""

from pathlib import Path

import pytest

from tailorbird.data.charset import NotText, codec_of, encoding_of
from tailorbird.data.textfile import read_text
from tailorbird.documents.decode_text import decode, decode_part
from tailorbird.errors import UserError

SENTENCES = {
    "pl": "Każdego ranka łódź płynie na drugi brzeg jeziora. Żółte światło świeci też w nocy, gdy "
    "gęsta mgła zasłania przystań.",
    "cs": "Každé ráno připlouvá loďka k druhému břehu jezera. Žluté světlo svítí i v noci, když "
    "přístav zahalí hustá mlha.",
    "hu": "Minden reggel csónak indul a tó túlsó partjára. A sárga fény éjjel is világít, amikor "
    "sűrű köd fedi a kikötőt.",
    "ru": "Каждое утро лодка плывёт на другой берег озера. Жёлтый огонь горит и ночью, когда "
    "пристань закрывает густой туман.",
    "uk": "Щоранку човен пливе на інший берег озера. Жовте світло горить і вночі, коли пристань "
    "вкриває густий туман, а їжаки сплять.",
    "bg": "Всяка сутрин лодката плува до другия бряг на езерото. Жълтата светлина гори и през "
    "нощта, когато гъста мъгла покрива пристана.",
    "de": "Jeden Morgen fährt ein Boot über den See. Das gelbe Licht brennt auch nachts, wenn "
    "dichter Nebel über dem Hafen hängt; für Gäste gibt es große Becher Tee.",
    "fr": "Chaque matin, une barque traverse le lac. La lumière jaune brûle même la nuit, là où "
    "une brume épaisse cache la jetée, et l'on sert du thé aux élèves.",
    "el": "Κάθε πρωί μια βάρκα περνά στην άλλη όχθη της λίμνης. Το κίτρινο φως καίει και τη νύχτα, "
    "όταν πυκνή ομίχλη κρύβει την αποβάθρα.",
    "tr": "Her sabah bir kayık gölün karşı kıyısına geçer. Sarı ışık gece de yanar, çünkü iskeleyi "
    "yoğun bir sis örter.",
    "he": "בכל בוקר חוצה סירה את האגם אל הגדה השנייה. האור הצהוב דולק גם בלילה, כאשר ערפל כבד מכסה "
    "את המזח.",
    "ar": "في كل صباح يعبر قارب البحيرة إلى الضفة الأخرى. ويضيء النور الأصفر في الليل أيضا عندما "
    "يغطي الضباب الكثيف الرصيف.",
    "lt": "Kiekvieną rytą valtis plaukia į kitą ežero krantą. Geltona šviesa dega ir naktį, kai "
    "tirštas rūkas uždengia prieplauką, o žąsys miega.",
    "th": "ทุกเช้าเรือลำหนึ่งจะข้ามทะเลสาบไปยังอีกฝั่ง แสงสีเหลืองส่องสว่างแม้ในเวลากลางคืนเมื่อหมอกหนาปกคลุมท่าเรือ",
    "ja": "毎朝、小さな船が湖の向こう岸へ渡ります。"
    "夜も黄色い灯りがともり、濃い霧が桟橋を隠します。",
    "zh": "每天早晨，一条小船划到湖的对岸。夜里黄色的灯也亮着，浓雾遮住了码头，大家慢慢地走回家。",
    "zht": "每天早晨，一條小船划到湖的對岸。夜裡黃色的燈也亮著，濃霧遮住了碼頭，大家慢慢地走回家。",
    "ko": "매일 아침 작은 배가 호수 건너편으로 갑니다. 짙은 안개가 부두를 "
    "가리는 밤에도 노란 불빛이 켜져 있습니다.",
}
TABLE = (
    "cp1250:pl cp1250:cs cp1250:hu cp1251:ru cp1251:uk cp1251:bg cp1252:de cp1252:fr cp1253:el "
    "cp1254:tr cp1255:he cp1256:ar cp1257:lt cp874:th iso8859_2:pl iso8859_2:cs iso8859_5:ru "
    "iso8859_6:ar iso8859_7:el iso8859_8:he iso8859_9:tr iso8859_13:lt iso8859_15:fr koi8_r:ru "
    "koi8_u:uk mac_roman:fr mac_roman:de mac_cyrillic:ru mac_greek:el mac_latin2:pl "
    "mac_turkish:tr cp437:de cp850:fr cp852:pl cp866:ru cp855:bg cp737:el cp862:he cp857:tr "
    "cp775:lt shift_jis:ja euc_jp:ja iso2022_jp:ja gb18030:zh gbk:zh big5:zht euc_kr:ko cp949:ko "
    "johab:ko iso2022_kr:ko utf-16-le:de utf-16-be:fr utf-16-le:ru utf-16-be:ar utf-16-le:zh "
    "utf-16-be:ja utf-16-le:ko utf-32-le:uk utf-32-be:zht utf-8:th"
)
PAIRS = [tuple(pair.split(":")) for pair in TABLE.split()]


@pytest.mark.parametrize(("codec", "language"), PAIRS, ids=TABLE.split())
def test_a_sentence_in_its_encoding(codec: str, language: str, tmp_path: Path) -> None:
    text = SENTENCES[language]
    data = text.encode(codec)
    notes: list[str] = []
    assert decode(data, notes) == text
    assert bool(notes) == (codec != "utf-8")  # what was guessed is told
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    told: list[str] = []
    assert read_text(file, told) == text  # a training file is decoded alike
    assert bool(told) == (codec != "utf-8")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("The café is open.".encode("cp1252"), "The café is open."),
        ("“Now,” she said — and left…".encode("cp1252"), "“Now,” she said — and left…"),
        (b"plain\n" * 9000 + "naïve".encode("cp1252"), "plain\n" * 9000 + "naïve"),
        ("5 € each".encode("cp1252"), "5 € each"),
    ],
)
def test_few_foreign_letters_are_windows_1252(data: bytes, text: str) -> None:
    assert decode(data, []) == text


def test_a_damaged_letter_does_not_make_utf8_another_encoding() -> None:
    notes: list[str] = []
    assert decode("Grüße aus Köln".encode() + b" \xff", notes).startswith("Grüße aus Köln ")
    assert "1 damaged places in its UTF-8" in notes[0]


def test_bytes_that_no_language_fits(tmp_path: Path) -> None:
    data = b"words " + bytes((0x81, 0x8D, 0x90, 0xFE, 0xB5, 0xA6, 0xD7, 0xBC, 0x9D)) * 3
    file = tmp_path / "a.csv"
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"line 1 \(byte 6, value 0x81\).*no other encoding fits"):
        read_text(file)
    notes: list[str] = []
    decode(data, notes)
    assert "no language fits" in notes[0]


def test_the_first_foreign_letters_may_come_late(tmp_path: Path) -> None:
    text = "text,label\n" + "plain words,a\n" * 90_000 + f"{SENTENCES['ru']},b\n" * 3
    file = tmp_path / "a.csv"
    file.write_bytes(text.encode("cp1251"))
    notes: list[str] = []
    assert read_text(file, notes) == text
    assert "line 90002" in notes[0] and "Windows-1251" in notes[0]


def test_zeros_of_a_binary_file() -> None:
    with pytest.raises(NotText, match="NUL"):
        encoding_of(bytes(range(256)) * 20)


@pytest.mark.parametrize(
    ("label", "codec"),
    [("ISO-8859-1", "cp1252"), ("gb2312", "gb18030"), ("ks_c_5601-1987", "cp949"),
     ("utf8", "utf-8"), ("x-unknown", None), ("base64", None)],
)  # fmt: skip
def test_names_of_encodings_as_browsers_take_them(label: str, codec: str | None) -> None:
    assert codec_of(label) == codec


def test_a_part_whose_encoding_is_named() -> None:
    notes: list[str] = []
    assert decode_part("– Ж".encode("cp1251"), "windows-1251", notes) == "– Ж"
    assert notes == []
    # What is named wrongly is looked at.
    assert decode_part(SENTENCES["ru"].encode("koi8_r"), "utf-8", notes) == SENTENCES["ru"]
    assert "KOI8-R" in notes[0]
