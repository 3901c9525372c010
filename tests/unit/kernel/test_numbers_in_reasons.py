"""A reason names nobody by number: it is journaled. What only looks a little like such a number is no reason to refuse one."""

from __future__ import annotations

import pytest

from hub.kernel.firewall_names import NO_PURPOSE, NO_REASON, holds_number, stated

SOMEBODYS = [
    "079204001234", "cccd:079204001234.", "CCCD079204001234", "079 204 001 234", "079.204.001.234", "0792-0400-1234", "079204 001234",
    "０７９２０４００１２３４", "202611230720", "123456789", "CMND123456789", "cmt123456789", "123 456 789", "012-345-678",
    "0912345678", "sđt0912345678,", "0912 345 678", "0912.345.678", "091 234 56 78", "Tel.0912.345.678", "0912345678/0987654321", "0912 345 678 và 12",
    "+84912345678", "84912345678", "+84 912 345 678", "(+84) 912 345 678", "02253123456", "0225 3123456", "(0225) 3 123 456",
]  # fmt: skip
NOBODYS = [
    "2026-11-23 07:20", "23.11.2026 07:20", "03.11.2026 07:20", "05-11-2026", "03 11 2026", "000.00.12.H24-261122-0001", "H24-261122-001",
    "31HP0123001", "3100000001", "192.168.100.200", "10.0.12.100", "CGXH201460231", "346071284854503", "346071284854503 và 346071284854504",
    "100.000 bản ghi", "1.000.000", "123.456.789 đồng", "27/2020/TT-BGDĐT", "0.10.11", "2.002481", "ABCDEFGHIJKLMNOP", "từ 07:30 đến 08:15",
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
    for said in ("0" * 250, "0 " * 125, "01-" * 83, "012 345-" * 31, "+84" * 83):
        holds_number(said)
