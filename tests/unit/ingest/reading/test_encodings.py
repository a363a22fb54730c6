"""Texts of many languages are read in the encoding that they were written in."""

from pathlib import Path

import pytest

from services.ingest.reading import FileRefused, ReadOptions
from tests.unit.ingest.reading.files import cells_in, detected_in, people, phone, written

JAPANESE = "今治市立第二保育所 テスト"
WORDS = [
    ("cp932", "JP", JAPANESE),
    ("euc_jp", "JP", JAPANESE),
    ("iso2022_jp", "JP", JAPANESE),
    ("cp949", "KR", "정남도서관 경기도 화성시"),
    ("gbk", "CN", "北京市朝阳区建国路 张三"),
    ("big5", "TW", "台北市信義區忠孝東路 張三"),
    ("cp1252", "FR", "François Lefèvre, à côté de l’église n° 3"),
    ("cp1252", "ES", "CALLE ESPAÑA Nº 3, NIÑO JESÚS"),
    ("cp1252", "DE", "Grüße aus Österreich, Straße"),
    ("mac_roman", "FR", "François Lefèvre, à côté de l’église"),
    ("mac_roman", "AR", "CENTRO DE SALUD PIÑERO N° 36"),
    ("cp850", "DE", "Grüße aus Österreich, Straße"),
    ("cp1250", "PL", "Łukasz Wójcik, Łódź, Świętokrzyska"),
    ("cp1251", "RU", "Иванов Пётр, Москва, улица Ленина"),
    ("koi8_r", "RU", "Иванов Пётр, Москва, улица Ленина"),
    ("cp866", "RU", "Иванов Пётр, Москва, улица Ленина"),
    ("cp1253", "GR", "Γιώργος Παπαδόπουλος, Αθήνα"),
    ("cp1254", "TR", "Işık Çağlar, İstanbul, Şişli"),
    ("utf-8", "US", JAPANESE),
    ("utf-8-sig", "US", JAPANESE),
    ("utf-16", "US", JAPANESE),
    ("utf-32", "US", JAPANESE),
    ("utf-16-le", "US", "plain words"),
    ("utf-16-be", "US", "plain words"),
]


@pytest.mark.parametrize(("encoding", "region", "words"), WORDS)
def test_an_encoding_is_found_and_read(tmp_path: Path, encoding: str, region: str, words: str) -> None:
    rows = [["name", "phone"], *([words, f"+1 415 555 01{number:02d}"] for number in range(12))]
    detected = detected_in(tmp_path, written(rows).encode(encoding), ReadOptions(region=region))
    assert detected.encoding == encoding
    assert [list(cells) for cells in cells_in(tmp_path, detected)] == rows[1:]


def test_one_odd_byte_far_down_decides(tmp_path: Path) -> None:
    rows = people(20_000)
    rows[15_000][1] = "Bartholomew’s"
    detected = detected_in(tmp_path, written(rows).encode("cp1252"))
    assert detected.encoding == "cp1252"
    assert cells_in(tmp_path, detected)[14_999][1] == "Bartholomew’s"


def test_a_file_that_was_cut_off_within_a_character_is_still_utf8(tmp_path: Path) -> None:
    content = written([*people(20), ["1", "Zoë", phone(1)], ["2", "É"]]).strip().encode()[:-1]
    detected = detected_in(tmp_path, content)
    assert detected.encoding == "utf-8"
    assert cells_in(tmp_path, detected)[-1] == ("2", "\uefc3")


def test_mixed_encodings_keep_their_bytes(tmp_path: Path) -> None:
    lines = [f"PEÑA {number},{phone(number)}\n" for number in range(20)]
    content = b"name,phone\n" + "".join(lines[:10]).encode() + "".join(lines[10:]).encode("cp1252")
    detected = detected_in(tmp_path, content)
    assert detected.encoding == "cp1252"
    cells = cells_in(tmp_path, detected)
    assert cells[0][0].encode("cp1252").decode("utf-8") == "PEÑA 0"
    assert cells[-1][0] == "PEÑA 19"


def test_bytes_that_cp1252_leaves_undefined_become_controls(tmp_path: Path) -> None:
    content = b"name,phone\n" + b"".join(b"caf\xe9 \x81\x9d,(415) 555-01%02d\n" % number for number in range(9))
    detected = detected_in(tmp_path, content, ReadOptions(encoding="cp1252"))
    assert cells_in(tmp_path, detected)[0][0] == "café \x81\x9d"


def test_a_person_may_fix_the_encoding(tmp_path: Path) -> None:
    content = written(people(9)).encode() + b"9,caf\xe9,x\r\n"
    assert detected_in(tmp_path, content, ReadOptions(encoding="Latin-1")).encoding == "cp1252"
    assert detected_in(tmp_path, content, ReadOptions(encoding="shift_jis")).encoding == "cp932"
    for wrong in ("klingon", "rot13", "base64"):
        with pytest.raises(FileRefused) as refused:
            detected_in(tmp_path, content, ReadOptions(encoding=wrong))
        assert refused.value.code == "unknown-encoding"
