"""Sample lists of the simulated portal. Synthetic but for the public codes of procedures and fields.

One concern: rows as the simulator first holds them. It must never be read by the adapter.
"""

from __future__ import annotations

from typing import Any

LISTS: dict[str, list[dict[str, Any]]] = {
    "procedures": [
        {"MATTHC": "2.002481", "TENTTHC": "Chuyển trường đối với học sinh trung học cơ sở", "MALINHVUC": "GDTrH",
         "TENCOQUAN": "Ủy ban nhân dân cấp xã", "THOIHANGIAIQUYET": "2"},
        {"MATTHC": "2.002478", "TENTTHC": "Chuyển trường đối với học sinh trung học phổ thông", "MALINHVUC": "GDTrH",
         "TENCOQUAN": "Sở Giáo dục và Đào tạo", "THOIHANGIAIQUYET": "2"},
        {"MATTHC": "1.005092", "TENTTHC": "Cấp bản sao văn bằng, chứng chỉ từ sổ gốc", "MALINHVUC": "VBCC",
         "TENCOQUAN": "Sở Giáo dục và Đào tạo", "THOIHANGIAIQUYET": "1"},
        {"MATTHC": "2.001914", "TENTTHC": "Chỉnh sửa nội dung văn bằng, chứng chỉ", "MALINHVUC": "VBCC",
         "TENCOQUAN": "Sở Giáo dục và Đào tạo", "THOIHANGIAIQUYET": "5"},
    ],
    "agencies": [
        {"MACOQUAN": "000.00.12.H24", "TENCOQUAN": "Sở Giáo dục và Đào tạo (mô phỏng)", "MACOQUANCHA": "000.00.00.H24"},
        {"MACOQUAN": "000.00.00.H24", "TENCOQUAN": "Ủy ban nhân dân thành phố (mô phỏng)", "MACOQUANCHA": ""},
    ],
    "fields": [
        {"MALINHVUC": "GDTrH", "TENLINHVUC": "Giáo dục trung học", "MACOQUAN": "000.00.12.H24"},
        {"MALINHVUC": "VBCC", "TENLINHVUC": "Văn bằng, chứng chỉ", "MACOQUAN": "000.00.12.H24"},
    ],
    "questions": [
        {"MAHOIDAP": "HD-1", "TIEUDE": "Hỏi về chuyển trường", "NOIDUNG": "Con tôi chuyển trường cần giấy tờ gì?",
         "NGAYGUI": "20261101083000", "NGUOIGUI": "Trần Thị Ví Dụ", "EMAIL": "vidu@example.invalid",
         "SODIENTHOAI": "0900000001", "MATTHC": "2.002481", "TRANGTHAI": "1"},
    ],
}  # fmt: skip


def page_of(rows: list[dict[str, Any]], page: int, size: int) -> list[dict[str, Any]]:
    """One page, counted from 1."""
    return rows[(page - 1) * size : page * size]
