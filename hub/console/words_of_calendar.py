"""The console's words for schools' days off and timetables, and for gates that are silent. In Vietnamese and English.

One concern: these words. What is not here is shown by its own name.
"""

from __future__ import annotations

CALENDAR_WORDS: dict[str, tuple[str, str]] = {
    "nav.calendar": ("Lịch trường", "School calendar"),
    "calendar.about": (
        "Cổng chỉ bị coi là im lặng bất thường khi lịch và thói quen cho thấy phải có người qua. Ngày lễ, Tết đã có sẵn.",
        "A gate counts as silent only when the calendar and its habit say somebody should pass. Public holidays and Tết are known.",
    ),
    "calendar.days_off": ("Ngày nghỉ", "Days off"),
    "calendar.since": ("Từ ngày", "From"),
    "calendar.until": ("Đến ngày", "To"),
    "calendar.title": ("Lý do", "Occasion"),
    "calendar.all": ("Mọi trường", "Every school"),
    "calendar.none": ("Không có ngày nghỉ nào sắp tới.", "No days off to come."),
    "calendar.remove": ("Bỏ", "Remove"),
    "calendar.add": ("Thêm ngày nghỉ", "Add days off"),
    "calendar.sessions": ("Thời khóa biểu", "Timetable"),
    "calendar.sessions_about": (
        "Không khai thì chỉ xét theo thói quen của từng cổng. Trước giờ vào và sau giờ tan thêm 60 phút.",
        "With none given, each gate's habit alone counts. Sixty minutes are added before and after each session.",
    ),
    "calendar.session": ("Buổi học", "Session"),
    "calendar.opens": ("Vào", "Opens"),
    "calendar.closes": ("Tan", "Closes"),
    "calendar.show": ("Xem", "Show"),
    "calendar.save": ("Lưu thời khóa biểu", "Save the timetable"),
    "calendar.bad_dates": (
        "Cần lý do và ngày hợp lệ; ngày cuối không trước ngày đầu, tối đa 200 ngày.",
        "An occasion and valid days are needed; the last not before the first, 200 days at most.",
    ),
    "calendar.bad_times": (
        "Mỗi buổi cần ít nhất một ngày, giờ vào trước giờ tan, không trùng buổi khác.",
        "Each session needs a day, must open before it closes, and differ from the others.",
    ),
    "done.calendar": ("Đã lưu lịch.", "The calendar was saved."),
    "weekday.1": ("T2", "Mon"),
    "weekday.2": ("T3", "Tue"),
    "weekday.3": ("T4", "Wed"),
    "weekday.4": ("T5", "Thu"),
    "weekday.5": ("T6", "Fri"),
    "weekday.6": ("T7", "Sat"),
    "weekday.7": ("CN", "Sun"),
    "alarm.silent_gate": ("Cổng im lặng", "Silent gate"),
    "kind.day_off": ("Thêm ngày nghỉ", "Days off added"),
    "kind.day_off_removed": ("Bỏ ngày nghỉ", "Days off removed"),
    "kind.sessions": ("Đổi thời khóa biểu", "Timetable changed"),
    "kind.decoded": ("Giải mã bản tin", "Message decoded"),
}
