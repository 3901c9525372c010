"""A reason names nobody by number: it is journaled. What only looks a little like such a number is no reason to refuse one."""

from __future__ import annotations

import time

import pytest

from hub.kernel.firewall_names import NO_PURPOSE, NO_REASON, holds_number, stated

SOMEBODYS = [
    "079204001234", "cccd:079204001234.", "CCCD079204001234", "079 204 001 234", "079.204.001.234", "0792-0400-1234", "079204 001234",
    "０７９２０４００１２３４", "٠٧٩٢٠٤٠٠١٢٣٤", "012,345,678,901", "079 - 204 - 001 - 234", "079_204_001_234", "2 em 079204001234", "001204001234",
    "CMND123456789", "cmt123456789", "CMND 123.456.789", "CMND 12 345 6789", "cmnd_123456789", "CMND:123456789a", "CMND cũ số 012-345-678",
    "chứng minh nhân dân: 123456789", "chung minh 123 456 789", "căn cước 123456789", "số 123456789 (CMND)", "ID card 123456789", "CCCD 101204001234",
    "CMND 123 456 789 - 2", "ＣＭＮＤ １２３４５６７８９",
    "0912345678", "sđt0912345678,", "0912 345 678", "0912.345.678", "091 234 56 78", "Tel.0912.345.678", "0912345678/0987654321", "0912 345 678 và 12",
    "+84912345678", "84912345678", "+84 912 345 678", "(+84) 912 345 678", "02253123456", "0225 3123456", "(0225) 3 123 456",
    "0084912345678", "84 912 345 678", "0084 912 345 678", "+84(0)912345678", "+84 (0) 912 345 678", "0912 345-678", "0912/345/678", "0912_345_678",
    "0912–345–678", "0912—345—678", "0912‑345‑678", "0 9 1 2 3 4 5 6 7 8", "0.9.1.2.3.4.5.6.7.8",
    "０９１２３４５６７８", "０９１２ ３４５ ６７８", "0912  345 678",
    "lớp 12 0912 345 678", "0912 345 678 12", "09.12.20.34.56", "0912*345*678", "03.11.2026 0912345678",
]  # fmt: skip
NOBODYS = [
    "2026-11-23 07:20", "23.11.2026 07:20", "03.11.2026 07:20", "05-11-2026", "03 11 2026", "000.00.12.H24-261122-0001", "H24-261122-001",
    "31HP0123001", "3100000001", "192.168.100.200", "10.0.12.100", "CGXH201460231", "346071284854503", "346071284854503 và 346071284854504",
    "100.000 bản ghi", "1.000.000", "123.456.789 đồng", "27/2020/TT-BGDĐT", "0.10.11", "2.002481", "ABCDEFGHIJKLMNOP", "từ 07:30 đến 08:15",
    "công văn 202611230915", "202611230720", "2026 1123 0915", "250 000 000 đồng", "100 000 000 đồng", "1.250.000.000 đồng", "Giao dịch 123456789",
    "123 456 789",
    "biên lai 000123456", "08.10.2026 08.30", "từ 01-09-2026 đến 30-09-2026", "01/09/2026-30/09/2026", "03.11.2026 - 08", "QĐ 012-2026 ngày 05-09-2026",
    "delivery 12-345-678", "trường 001, 002, 003, 004", "CCCD của hồ sơ H24-261122-001", "thẻ CCCD của CGXH201460231", "văn bản 1234567890123",
    "chứng minh đã nộp 12 345 678 đồng", "000345678000",
]  # fmt: skip


@pytest.mark.parametrize("number", SOMEBODYS)
def test_a_number_that_is_somebodys_is_refused_wherever_it_stands(number: str) -> None:
    for said in (number, f"Sửa cho em {number}", f"{number} gọi lại hôm nay", f"Theo đơn ({number}) của trường"):
        assert holds_number(said), said
        assert stated(f"Đính chính: {said}") is None


@pytest.mark.parametrize("number", NOBODYS)
def test_a_day_a_filing_an_address_or_a_serial_number_is_none(number: str) -> None:
    said = f"Theo đề nghị của trường: {number}, đã xem"
    assert not holds_number(said) and stated(said) == said


def test_what_is_told_to_whoever_wrote_one_says_so_in_both_languages() -> None:
    for told in (NO_PURPOSE, NO_REASON):
        assert "số định danh" in told.vi and "số điện thoại" in told.vi
        assert "personal" in told.en and "phone number" in told.en


def test_it_is_quick_whatever_is_written() -> None:
    hostile = (
        "0" * 250, "0 " * 125, "01-" * 83, "012 345-" * 31, "+84" * 83, "CMND " + "1 " * 122, "cmnd" * 62, "1.1.20" * 41, "ﷺ" * 250, "0()/" * 62, "0   " * 62,
        "căn cước" * 31, "1,1, " * 50, "8400" * 62,
    )  # fmt: skip
    began = time.process_time()
    for said in hostile:
        holds_number(said)
    assert time.process_time() - began < 0.5, "milliseconds each"
    assert not holds_number("1 " * 5000) and time.process_time() - began < 2.0, "time grows with the length alone"
