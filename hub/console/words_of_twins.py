"""The console's words for rehearsals with simulators. In Vietnamese and English.

One concern: these words. What is not here is shown by its own name.
"""

from __future__ import annotations

TWIN_WORDS: dict[str, tuple[str, str]] = {
    "nav.twins": ("Diễn tập sự cố", "Rehearse an outage"),
    "twins.about": (
        "Bật một sự cố ở hệ thống giả lập và xem trục sống qua nó: trạng thái, tuổi hàng đợi, cầu dao, khôi phục. Hệ thống thật không bao giờ bị đụng tới.",
        "Switch a fault on at a simulator and watch the hub live through it: states, ages, breaker, recovery. A real system is never touched.",
    ),
    "twins.none": (
        "Không có kết nối nào trỏ tới hệ thống giả lập đang chạy.",
        "No connector points at a simulator that runs.",
    ),
    "twins.fault": ("Sự cố", "Fault"),
    "twins.for": ("Trong", "For"),
    "twins.go": ("Bắt đầu", "Begin"),
    "twins.stop": ("Tắt mọi sự cố", "All faults off"),
    "twins.well": ("Đang khỏe", "Well"),
    "twins.out": ("Gửi được trong phút qua", "Delivered in the last minute"),
    "twins.breaker": ("Cầu dao", "Breaker"),
    "twins.story": ("Diễn biến", "What happened"),
    "twins.on": ("Bật sự cố: {what}, {s} giây", "Fault on: {what}, {s} s"),
    "twins.off": ("Tắt mọi sự cố", "All faults off"),
    "twins.opened": ("Bắt đầu khôi phục: {why}", "Recovery begins: {why}"),
    "twins.released": ("Bước {step}: thả {n} lượt đang chờ", "Step {step}: released from waiting: {n}"),
    "twins.handed_over": ("Trả quyền điều phối: {who}", "Handed over by {who}"),
    "twins.finished": (
        "Đã khôi phục sau {steps} bước, thả {n} lần",
        "Recovered after {steps} steps, {n} times released",
    ),
    "done.fault": ("Đã bật. Xem bên dưới.", "It is on. Watch below."),
    "done.fault_off": ("Đã tắt mọi sự cố. Xem bên dưới.", "All faults are off. Watch below."),
    "done.fault_not": ("Hệ thống giả lập không trả lời.", "The simulator does not answer."),
    "kind.rehearse": ("Diễn tập sự cố", "Outage rehearsed"),
    "fault.slow": ("Chậm", "Slow"),
    "fault.down_503": ("Ngừng phục vụ (503)", "Out of service (503)"),
    "fault.gateway_502": ("Cổng trung gian lỗi (502), việc đã làm", "Gateway fails (502), done all the same"),
    "fault.committed_503": (
        "Cổng trung gian báo ngừng phục vụ (503), việc đã làm",
        "Gateway says out of service (503), done all the same",
    ),
    "fault.maintenance_html": ("Trang bảo trì HTML với mã 200", "Maintenance page in HTML with status 200"),
    "fault.commit_then_timeout": ("Đã nhận rồi im lặng", "Taken, then silence"),
    "fault.reset_after_read": ("Ngắt sau khi đọc yêu cầu", "Reset after the request was read"),
    "fault.garbage": ("Trả lời không đọc được", "Unreadable answer"),
    "fault.quota_429": ("Vượt hạn mức (429)", "Quota exceeded (429)"),
    "fault.duplicate_answer": ("Trả lời lặp", "Duplicate answer"),
    "fault.missing_item": ("Trả lời thiếu mục", "Answer with an item missing"),
    "fault.expired_session": ("Phiên hết hạn", "Expired session"),
    "fault.half_open": ("Kết nối nửa mở", "Half-open connection"),
    "fault.wrong_schema": ("Trả lời sai lược đồ", "Answer of another schema"),
    "fault.fault_500": ("Lỗi của đối tác (500, SOAP Fault)", "Its own fault (500, SOAP Fault)"),
    "fault.commit_then_500": ("Đã nhận rồi vẫn báo lỗi (500)", "Taken, then a fault all the same (500)"),
    "fault.reset_mid_body": ("Ngắt giữa câu trả lời", "Reset in the middle of the answer"),
}
