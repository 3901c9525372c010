"""The console's words for people at gates and clocks that wait. In Vietnamese and English.

One concern: these words. What is not here is shown by its own name.
"""

from __future__ import annotations

PERSON_WORDS: dict[str, tuple[str, str]] = {
    "nav.people": ("Người ở cổng", "People at gates"),
    "people.about": (
        "Mã người của từng máy là mã riêng. Lượt qua cổng của mã chưa rõ được giữ lại và đi tiếp ngay khi bạn cho biết đó là ai.",
        "Each device has its own ids. Passages of an id nobody knows are kept, and follow as soon as you say who it is.",
    ),
    "people.inbox": ("Mã chưa biết là ai: {n}", "Ids nobody is linked to: {n}"),
    "people.none": ("Không có mã nào đang chờ.", "No id is waiting."),
    "people.id": ("Mã trên máy", "Id at the gate"),
    "people.sent_name": ("Tên máy gửi", "Name the gate sent"),
    "people.waiting": ("đang chờ: {n}", "waiting: {n}"),
    "people.suggested": ("Có thể là", "May be"),
    "people.why.code": ("trùng mã", "same code"),
    "people.why.code_like": ("mã kết thúc giống", "code ends alike"),
    "people.why.name": ("trùng tên", "same name"),
    "people.other": ("Mã học sinh khác", "Another learner code"),
    "people.since": ("Từ lúc", "From"),
    "people.until": ("Đến lúc", "To"),
    "people.reason": ("Lý do", "Reason"),
    "people.link": ("Liên kết", "Link"),
    "people.links": ("Liên kết đang dùng", "Links in force"),
    "people.no_links": ("Chưa có liên kết nào.", "No links yet."),
    "people.learner": ("Học sinh", "Learner"),
    "people.used": ("Số lượt", "Passages"),
    "people.undo": ("Bỏ liên kết", "Undo"),
    "people.clocks": ("Cổng chờ rõ đồng hồ", "Gates whose clock must be told"),
    "people.clocks_about": (
        "Khi đồng hồ sai quá, lượt qua cổng được giữ lại. Trục tự tính khi có ba lượt trực tiếp khớp nhau; nếu biết, bạn có thể cho biết ngay.",
        "Passages under a clock that cannot be right are kept. The hub tells the error once three live ones agree; if you know it, say so here.",
    ),
    "people.no_clocks": ("Không có lượt nào chờ vì đồng hồ.", "No passage waits for a clock."),
    "people.off": ("Lệch khoảng {span}", "Off by about {span}"),
    "people.live": ("trong đó {n} trực tiếp", "{n} of them live"),
    "people.shown": ("Máy hiện", "The gate showed"),
    "people.true": ("Giờ đúng lúc đó", "The true time then"),
    "people.set": ("Đặt độ lệch", "Set the offset"),
    "people.namespaces": ("Cổng dùng mã riêng", "Gates with ids of their own"),
    "people.namespaces_about": (
        "Để trống: máy dùng mã của Sở. Các máy chung một tài khoản nhà cung cấp dùng chung một tên.",
        "Left empty: the gate uses the department's codes. Gates of one vendor's account share one name.",
    ),
    "people.gate": ("Cổng", "Gate"),
    "people.namespace": ("Tên không gian mã", "Name of the id space"),
    "people.no_namespaces": ("Mọi cổng dùng mã của Sở.", "Every gate uses the department's codes."),
    "people.save": ("Lưu", "Save"),
    "people.refused.no_learner": (
        "Không có học sinh mã này trong phạm vi của bạn. Chưa liên kết.",
        "No learner of yours has this code. Nothing was linked.",
    ),
    "people.refused.linked_already": (
        "Mã này đã chỉ người khác trong thời gian đó; hãy bỏ liên kết cũ trước.",
        "The id means somebody in that time already; undo that link first.",
    ),
    "people.refused.bad_times": ("Thời gian không hợp lệ.", "The times are not valid."),
    "people.refused.bad_namespace": (
        "Tên chỉ gồm chữ cái không dấu, chữ số và . _ : @ -, tối đa 80 ký tự.",
        "A name has ASCII letters, digits and . _ : @ - only, 80 at most.",
    ),
    "people.refused.shared": (
        "Mã này dùng chung với cổng của trường khác: cần người của Sở.",
        "The id is shared with another school's gates: the department must do it.",
    ),
    "people.refused.no_gate": ("Không có cổng này.", "There is no such gate."),
    "done.person_linked": ("Đã liên kết; số lượt đi tiếp: {n}.", "Linked; passages that follow: {n}."),
    "done.person_unlinked": ("Đã bỏ liên kết; số lượt xét lại: {n}.", "Link undone; passages judged again: {n}."),
    "done.gate_offset": ("Đã đặt độ lệch; số lượt xét lại: {n}.", "Offset set; passages judged again: {n}."),
    "done.gate_namespace": (
        "Đã lưu; áp dụng cho các lượt đến từ bây giờ.",
        "Saved; it holds for passages from now on.",
    ),
    "kind.person_linked": ("Liên kết mã ở cổng", "Gate id linked"),
    "kind.person_unlinked": ("Bỏ liên kết mã ở cổng", "Gate id unlinked"),
    "kind.gate_namespace": ("Đổi không gian mã của cổng", "Gate's id space set"),
    "kind.gate_offset": ("Đặt độ lệch đồng hồ", "Clock offset set"),
    "kind.judged_again": ("Xét lại lượt qua cổng", "Check-ins judged again"),
    "disposition.5": ("gộp vào lượt khác", "merged into another"),
    "receipt.is.5": ("trùng lượt qua cổng khác", "the same passage as another"),
    "cause.not_theirs": ("của cán bộ, giáo viên: không báo", "a member of staff: not told"),
    "cause.stale": ("quá cũ để báo", "too long ago to be told"),
    "outcome.Stale": ("quá cũ", "too long ago"),
}
