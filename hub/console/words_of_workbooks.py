"""The console's words for workbooks, and for what waits for something to be delivered first. In Vietnamese and English.

One concern: these words.
"""

from __future__ import annotations

WORKBOOK_WORDS: dict[str, tuple[str, str]] = {
    "type.study_result": ("Kết quả học tập", "Study result"),
    "type.health_check": ("Sức khỏe", "Health check"),
    "type.code_given": ("Mã chính thức", "Code given"),
    "upload.title": ("Gửi tệp Excel hoặc CSV", "Send an Excel or CSV file"),
    "upload.about": (
        "Từng hàng được nhận hoặc trả lại riêng; hàng sai được đánh dấu ngay trong tệp để sửa rồi gửi lại. Ảnh trong tệp bị loại bỏ trước khi lưu.",
        "Each row is taken or refused by itself; faulty cells come back marked in the file, to be corrected and sent again. "
        "Pictures are taken out before anything is stored.",
    ),
    "upload.file": ("Tệp .xlsx, .csv hoặc .zip của nhiều tệp", "An .xlsx or .csv file, or a .zip of several"),
    "upload.full": ("Đây là danh sách đầy đủ của trường (dùng để đối soát)", "This is the school's full list (for reconciliation)"),
    "upload.files": ("Đã xử lý {n} tệp.", "{n} files were looked at."),
    "upload.name": ("Tệp", "File"),
    "upload.became": ("Kết quả", "What became of it"),
    "upload.rows": ("{n} bản ghi mới hoặc đổi, {bad} hàng sai", "{n} records new or changed, {bad} faulty rows"),
    "upload.whole_kept": ("Danh sách được giữ làm phía của trường khi đối soát.", "Kept as the school's side of reconciliations."),
    "upload.whole_counts": (
        "{n} mục; {here} chưa có ở trục, {there} chỉ có ở trục, {other} khác nội dung",
        "{n} entries; {here} not in the hub, {there} in the hub alone, {other} with other content",
    ),
    "export.title": ("Tải danh sách theo mẫu của Bộ", "Take a list in the Ministry's template"),
    "export.about": (
        "Tệp chứa dữ liệu cá nhân không che; ai tải, để làm gì, được ghi vào nhật ký.",
        "The file holds personal data in clear; who takes it, and what for, goes into the journal.",
    ),
    "export.purpose": ("Mục đích", "Purpose"),
    "export.take": ("Tải tệp Excel", "Take the Excel file"),
    "kind.export": ("Tải danh sách theo mẫu", "A list taken as a file"),
    "upload.year": ("Năm học", "School year"),
    "upload.school_hint": ("mã trường", "school code"),
    "upload.send": ("Gửi tệp", "Send the file"),
    "upload.templates": ("Mẫu trống:", "Empty templates:"),
    "upload.errors": ("Tải tệp lỗi để sửa", "Get the file with its faults marked"),
    "upload.none": ("Chưa chọn tệp nào.", "No file was chosen."),
    "upload.refused": ("Chưa nhận gì từ tệp này.", "Nothing was taken from this file."),
    "receipt.cell": ("ô {place}", "cell {place}"),
    "cause.unchanged": ("không có gì mới để gửi", "nothing new to send"),
    "cause.prerequisite": ("chờ dữ liệu phải có trước", "waits for something to be delivered first"),
    "cause.prerequisite_met": ("dữ liệu phải có trước đã tới", "what it waited for was delivered"),
    "cause.sent_anyway": ("người cho gửi luôn", "sent anyway by a person"),
    "cause.compared": ("so sánh thấy còn thiếu", "found missing by the comparison"),
    "outcome.Unchanged": ("không đổi", "unchanged"),
    "outcome.Prerequisite": ("chờ dữ liệu phải có trước", "waits for something first"),
    "task.prerequisite_overdue": ("Chờ dữ liệu phải có trước quá lâu", "Waited too long for something first"),
    "waits.title": ("Đang chờ dữ liệu phải có trước", "Waiting for something to be delivered first"),
    "waits.about": (
        "Những lượt gửi này tự đi tiếp ngay khi hệ thống nhận đã có bản ghi được chờ. Nếu bản ghi đó đã có sẵn ở hệ thống nhận, có thể gửi luôn.",
        "These go on by themselves once the receiver has what they wait for. If it has it already, they can be sent anyway.",
    ),
    "waits.for": ("Chờ", "Waits for"),
    "waits.why": ("Vì sao chưa có", "Why it is not there"),
    "waits.itself": ("chính nó đang chờ {what}", "it waits itself for {what}"),
    "waits.unknown": ("trục chưa có lượt gửi nào cho bản ghi này", "the hub has no delivery of it"),
    "waits.send": ("Gửi luôn", "Send anyway"),
    "kind.compare": ("So sánh với hệ thống nhận", "Comparison with a receiver"),
    "kind.reconcile": ("Gửi lại sau đối soát", "Resent after reconciling"),
    "kind.send_anyway": ("Gửi không chờ", "Sent without waiting"),
    "done.sent_anyway": ("Đã thả {n} lượt gửi.", "{n} deliveries let go."),
}  # fmt: skip
