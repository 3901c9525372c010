"""The console's words for what is kept of gates and what is sent to them: pictures and people. Vietnamese and English.

One concern: these words.
"""

from __future__ import annotations

GATE_LIST_WORDS: dict[str, tuple[str, str]] = {
    "gate.pictures": ("Ảnh được giữ", "Pictures kept"),
    "gate.pictures_kept": ("Giữ {n} giờ", "Kept for {n} hours"),
    "gate.pictures_none": ("Không giữ ảnh", "None kept"),
    "gate.pictures_site_off": (
        "Trục không giữ ảnh nào: chưa khai căn cứ pháp lý trong cấu hình (LT_PICTURES__LEGAL_BASIS).",
        "The hub keeps no pictures: its settings name no legal basis (LT_PICTURES__LEGAL_BASIS).",
    ),
    "gate.pictures_about": (
        "Ảnh được mã hóa, nằm ngoài sổ, bằng chứng và sao lưu, tự xóa khi hết hạn. Mỗi lần xem được ghi vào nhật ký cùng mục đích.",
        "Pictures are encrypted, stand outside the ledger, evidence and backups, and are deleted when their time is over. "
        "Every view goes to the journal with its purpose.",
    ),
    "gate.pictures_basis": ("Căn cứ pháp lý", "Legal basis"),
    "gate.pictures_hours": ("Thời gian giữ", "Kept for"),
    "gate.pictures_since": ("Bật từ", "On since"),
    "gate.pictures_one": ("Ảnh", "Picture"),
    "gate.pictures_alt": ("Ảnh cổng gửi kèm lượt qua", "The picture the gate sent with the passage"),
    "gate.pictures_seen_note": ("Lần xem này đã được ghi. Ảnh nhận lúc", "This view has been noted. Received"),
    "gate.pictures_size": ("Cỡ", "Size"),
    "gate.pictures_until": ("Giữ tới", "Kept until"),
    "gate.pictures_views": ("Lượt xem", "Views"),
    "gate.pictures_see": ("Xem…", "Look…"),
    "gate.pictures_show": ("Hiện ảnh", "Show the picture"),
    "gate.pictures_span": ("{n} giờ", "{n} hours"),
    "gate.pictures_empty": ("Không có ảnh nào.", "There are no pictures."),
    "gate.pictures_on": ("Bật giữ ảnh ở cổng này", "Keep this gate's pictures"),
    "gate.pictures_off": ("Tắt và xóa ảnh đã giữ", "Stop, and delete those kept"),
    "gate.pictures_on_note": (
        "Chỉ khi căn cứ pháp lý nêu trên áp dụng cho cổng này; được ghi vào nhật ký.",
        "Only where the legal basis above covers this gate; noted in the journal.",
    ),
    "gate.pictures_off_note": ("Ảnh đã giữ của cổng này bị xóa ngay.", "What is kept of this gate is deleted at once."),
    "gate.people": ("Người gửi tới cổng", "People sent to gates"),
    "gate.people_about": (
        "Những cổng còn thiếu người hoặc còn giữ người đã rời đi. Mỗi lệnh chỉ xong khi chính cổng trả lời.",
        "Gates that still lack people, or still hold those who have left. A command is done only when the gate itself has answered.",
    ),
    "gate.people_sum": ("{n} lệnh chưa xong, {parked} cần người xử lý.", "{n} commands open, {parked} need a person."),
    "gate.people_owed": ("Chưa xong", "Open"),
    "gate.people_parked": ("Cần xử lý", "Need a person"),
    "gate.people_since": ("Chờ từ", "Since"),
    "gate.people_why": ("Vì sao", "Why"),
    "gate.people_unknown": ("Cổng này không có trong sổ cổng.", "This gate is not in the registry."),
    "gate.people_all": ("Cổng nào cũng có đủ người.", "Every gate has its people."),
    "gate.people_here": ("Người ở cổng này", "People at this gate"),
    "gate.people_everybody": ("Xem tất cả", "Show everybody"),
    "gate.people_only_open": ("Chỉ xem chưa xong", "Show what is open"),
    "gate.people_what": ("Lệnh", "Command"),
    "gate.people_keep": ("Thêm, sửa", "Add or change"),
    "gate.people_remove": ("Xóa", "Remove"),
    "gate.people_unsent": ("Chưa gửi", "Not sent"),
    "gate.people_tries": ("{n} lần thử", "{n} tries"),
    "gate.people_next": ("thử lại lúc", "again at"),
    "gate.people_nobody": ("Chưa ai được gửi tới cổng này.", "Nobody has been sent to this gate."),
    "kind.gate_pictures_on": ("Bật giữ ảnh ở cổng", "Gate's pictures kept"),
    "kind.gate_pictures_off": ("Tắt giữ ảnh ở cổng", "Gate's pictures no longer kept"),
    "kind.gate_picture_seen": ("Xem ảnh từ cổng", "Picture of a gate seen"),
    "gate.list_from": ("hỏi lại từ", "asked from"),
    "kind.gate_list": ("Đặt cách hỏi danh sách của cổng", "How a gate is asked for its list"),
    "kind.gate_list_dropped": ("Thôi hỏi danh sách của cổng", "Gate no longer asked for its list"),
    "kind.gate_listed": ("Hỏi danh sách của tài khoản cho cổng mới", "Account's list asked for a gate new to it"),
    "kind.gate_unlisted": ("Danh sách của tài khoản bỏ qua cổng", "Account's list passes the gate over"),
}
