"""What people read when an item is refused: field titles and sentences in Vietnamese and English.

One concern: wording. It must never decide whether something is wrong, and never repeats a value from the item: the
values may be personal.
"""

from __future__ import annotations

import re
from typing import Any

from hub.kernel.ports import Text

TITLES: dict[str, Text] = {
    "event": Text("Sự kiện", "Event"),
    "updated_at": Text("Thời điểm cập nhật", "Time of update"),
    "data": Text("Nội dung bản ghi", "Record content"),
    "learner_code": Text("Mã học sinh", "Learner code"),
    "staff_code": Text("Mã cán bộ", "Staff code"),
    "personal_number": Text("Số định danh cá nhân", "Personal number"),
    "full_name": Text("Họ và tên", "Full name"),
    "birth_date": Text("Ngày sinh", "Date of birth"),
    "sex": Text("Giới tính", "Sex"),
    "ethnicity": Text("Dân tộc", "Ethnic group"),
    "nationality": Text("Quốc tịch", "Nationality"),
    "school_code": Text("Mã trường", "School code"),
    "class_code": Text("Mã lớp", "Class code"),
    "school_year": Text("Năm học", "School year"),
    "school_level": Text("Cấp học", "School level"),
    "level": Text("Cấp học", "School level"),
    "kind": Text("Loại", "Kind"),
    "grade": Text("Khối", "Grade"),
    "status": Text("Trạng thái", "Status"),
    "birthplace": Text("Nơi sinh", "Place of birth"),
    "residence": Text("Nơi ở hiện tại", "Present residence"),
    "ward": Text("Xã, phường, đặc khu", "Commune, ward or special zone"),
    "province": Text("Tỉnh, thành phố", "Province or city"),
    "detail": Text("Địa chỉ chi tiết", "Address details"),
    "as_of": Text("Ngày ghi địa chỉ", "Day the address was written"),
    "parents": Text("Cha, mẹ, người giám hộ", "Parents and guardians"),
    "relation": Text("Quan hệ", "Relation"),
    "phone": Text("Số điện thoại", "Phone number"),
    "email": Text("Thư điện tử", "E-mail"),
    "enrolled_on": Text("Ngày vào trường", "Day of enrolment"),
    "status_since": Text("Ngày nhập trạng thái", "Day of the status"),
    "left_reason": Text("Lý do thôi học", "Reason for leaving"),
    "disability": Text("Loại khuyết tật", "Kind of disability"),
    "policy": Text("Diện chính sách", "Policy group"),
    "poor_household": Text("Hộ nghèo", "Poor household"),
    "contract": Text("Hình thức hợp đồng", "Kind of contract"),
    "rank": Text("Mã ngạch", "Professional rank"),
    "social_insurance": Text("Mã số bảo hiểm xã hội", "Social insurance number"),
    "term": Text("Học kỳ", "Term"),
    "average": Text("Điểm tổng kết", "Average mark"),
    "study_level": Text("Kết quả học tập", "Study level"),
    "conduct": Text("Kết quả rèn luyện", "Conduct"),
    "award": Text("Danh hiệu", "Award"),
    "days_absent": Text("Số ngày nghỉ", "Days absent"),
    "promoted": Text("Được lên lớp", "Promoted"),
    "retrain": Text("Rèn luyện lại", "Conduct to be trained again"),
    "graduation_considered": Text("Được xét tốt nghiệp", "Considered for graduation"),
    "marks": Text("Điểm các môn", "Subject marks"),
    "subject": Text("Môn học", "Subject"),
    "mark": Text("Điểm", "Mark"),
    "rating": Text("Mức đánh giá", "Rating"),
    "checked_on": Text("Ngày khám", "Day of the check"),
    "height_cm": Text("Chiều cao (cm)", "Height (cm)"),
    "weight_kg": Text("Cân nặng (kg)", "Weight (kg)"),
    "eyesight_left": Text("Thị lực mắt trái", "Eyesight, left"),
    "eyesight_right": Text("Thị lực mắt phải", "Eyesight, right"),
    "conclusion": Text("Kết luận", "Conclusion"),
    "temporary_code": Text("Mã tạm", "Temporary code"),
    "joined_on": Text("Ngày vào làm", "Day of joining"),
    "group": Text("Nhóm cán bộ", "Staff group"),
    "position": Text("Chức danh", "Position"),
    "name": Text("Tên", "Name"),
    "address": Text("Địa chỉ", "Address"),
    "principal": Text("Hiệu trưởng", "Principal"),
    "homeroom_teacher": Text("Giáo viên chủ nhiệm", "Homeroom teacher"),
    "person_code": Text("Mã người", "Person code"),
    "device": Text("Thiết bị", "Device"),
    "entrance": Text("Cổng", "Entrance"),
    "direction": Text("Chiều ra vào", "Direction"),
    "device_time_raw": Text("Giờ thiết bị", "Device time"),
    "assumed_zone": Text("Múi giờ giả định", "Assumed time zone"),
    "received_at": Text("Thời điểm tiếp nhận", "Time of receipt"),
    "estimated_offset_s": Text("Độ lệch đồng hồ ước tính", "Estimated clock offset"),
    "corrected_time": Text("Giờ đã hiệu chỉnh", "Corrected time"),
    "uncertainty_s": Text("Sai số thời gian", "Time uncertainty"),
    "historical": Text("Dữ liệu gửi bù", "Sent later"),
    "method": Text("Hình thức", "Method"),
    "similarity": Text("Độ giống", "Similarity"),
    "verify_status": Text("Kết quả xác thực", "Verification status"),
    "quarantine": Text("Lý do cách ly", "Quarantine reason"),
    "images_removed": Text("Số ảnh đã gỡ", "Images removed"),
    "namespace": Text("Không gian mã", "Id space"),
    "local_id": Text("Mã riêng của cổng", "The gate's own id"),
    "merged_into": Text("Gộp vào lượt", "Merged into"),
    "follows": Text("Xét lại từ lượt", "Judged again from"),
    "card": Text("Số thẻ", "Card number"),
    "valid_from": Text("Hiệu lực từ", "Valid from"),
    "valid_to": Text("Hiệu lực đến", "Valid to"),
    "photo_url": Text("Địa chỉ ảnh", "Picture address"),
    "file_number": Text("Mã hồ sơ", "File number"),
    "procedure_code": Text("Mã thủ tục", "Procedure code"),
    "procedure_name": Text("Tên thủ tục", "Procedure name"),
    "field_code": Text("Mã lĩnh vực", "Field code"),
    "field_name": Text("Tên lĩnh vực", "Field name"),
    "applicant": Text("Người nộp hồ sơ", "Applicant"),
    "identity_number": Text("Số giấy tờ", "Identity number"),
    "identity_kind": Text("Loại giấy tờ", "Kind of identity number"),
    "submitted_at": Text("Ngày nộp hồ sơ", "Time of filing"),
    "due_at": Text("Ngày hẹn trả", "Due time"),
    "finished_at": Text("Ngày kết thúc xử lý", "Time finished"),
    "returned_at": Text("Ngày trả kết quả", "Time returned"),
    "handled_at": Text("Thời điểm xử lý", "Time handled"),
    "started_at": Text("Ngày bắt đầu", "Time started"),
    "handler": Text("Người xử lý", "Handler"),
    "department": Text("Phòng ban xử lý", "Department"),
    "content": Text("Nội dung", "Content"),
    "agency": Text("Cơ quan xử lý", "Agency"),
    "channel": Text("Kênh thực hiện", "Channel"),
    "attachments": Text("Tài liệu nộp", "Attachments"),
    "id": Text("Mã tài liệu", "Document id"),
    "url": Text("Đường dẫn", "Address of the document"),
    "component_code": Text("Mã thành phần hồ sơ", "Component code"),
    "digitised": Text("Được số hóa", "Digitised"),
    "file": Text("Tài liệu trục giữ", "Document kept by the hub"),
    "deleted": Text("Đã bỏ", "Taken away"),
    "reused": Text("Được tái sử dụng", "Used again"),
    "from_store": Text("Lấy từ kho dữ liệu", "Taken from the data store"),
    "replaced_by": Text("Mã kết quả thay thế", "Result it is replaced by"),
    "fax": Text("Số fax", "Fax number"),
    "other": Text("Thông tin khác", "Other information"),
    "vneid": Text("Tài khoản đã xác thực VNeID", "Account confirmed with VNeID"),
    "refused_at": Text("Ngày từ chối", "Time refused"),
    "return_info": Text("Thông tin trả kết quả", "How the result was returned"),
    "return_method": Text("Hình thức trả kết quả", "Way of return"),
    "filed_at": Text("Nơi nộp hồ sơ", "Where it was filed"),
    "note": Text("Ghi chú", "Note"),
    "online_payment": Text("Được thanh toán trực tuyến", "May be paid online"),
    "databases": Text("Cơ sở dữ liệu đã kết nối", "Databases consulted"),
    "papers": Text("Giấy tờ khác", "Other papers"),
    "count": Text("Số lượng", "Number"),
    "supplements": Text("Các lần bổ sung", "Supplements"),
    "requested_by": Text("Người yêu cầu bổ sung", "Who asked for more"),
    "requested_at": Text("Ngày yêu cầu bổ sung", "When more was asked for"),
    "received_by": Text("Người tiếp nhận bổ sung", "Who took the supplement"),
    "received_note": Text("Thông tin tiếp nhận", "Note on receipt"),
    "due_before": Text("Ngày hẹn trả trước", "Due time before"),
    "due_after": Text("Ngày hẹn trả mới", "New due time"),
    "results": Text("Giấy tờ kết quả", "Result papers"),
    "said_by": Text("Bên báo", "Who said so"),
    "event_id": Text("Mã sự kiện", "Event id"),
    "payment": Text("Khoản đã nộp", "Payment"),
    "source": Text("Nguồn", "Source"),
    "catalogue": Text("Danh mục", "Catalogue"),
    "parent": Text("Thuộc", "Belongs to"),
    "days": Text("Số ngày làm việc", "Working days"),
    "question_id": Text("Mã câu hỏi", "Question id"),
    "asker": Text("Người hỏi", "Who asks"),
    "asked_at": Text("Thời điểm hỏi", "Time asked"),
    "title": Text("Tiêu đề", "Title"),
    "answered": Text("Đã trả lời", "Answered"),
    "fees": Text("Lệ phí", "Fees"),
    "amount": Text("Số tiền", "Amount"),
    "code": Text("Mã", "Code"),
    "system": Text("Hệ mã", "Code system"),
    "canonical": Text("Mã chuẩn", "Canonical code"),
    "verdict": Text("Kết quả xác minh", "Verdict"),
    "differing": Text("Các mục khác nhau", "Differing fields"),
    "checked_at": Text("Thời điểm xác minh", "Time of the check"),
    "request_id": Text("Mã yêu cầu", "Request id"),
    "request_code": Text("Mã lượt xác minh", "Verification code"),
    "reasons": Text("Lý do", "Reasons"),
    "identity": Text("Danh tính", "Identity"),
    "householder": Text("Chủ hộ", "Householder"),
    "purpose": Text("Mục đích", "Purpose"),
    "officer": Text("Cán bộ tra cứu", "Officer"),
}
"""Title of each field by its name, the same in every type."""

_SHAPES: dict[str, Text] = {
    "personal_number": Text("phải gồm đúng 12 chữ số", "must be exactly 12 digits"),
    "learner_code": Text(
        "chỉ gồm chữ không dấu, chữ số và . _ - (3 đến 20 ký tự)",
        "takes letters, digits and . _ - (3 to 20 characters)",
    ),
    "school_code": Text(
        "chỉ gồm chữ không dấu, chữ số và . _ - (4 đến 20 ký tự)",
        "takes letters, digits and . _ - (4 to 20 characters)",
    ),
    "school_year": Text("phải có dạng 2026-2027", "must look like 2026-2027"),
    "temporary_code": Text("phải có dạng TAM-<số>", "must look like TAM-<number>"),
    "social_insurance": Text("phải gồm đúng 10 chữ số", "must be exactly 10 digits"),
    "phone": Text("chỉ gồm chữ số, dấu cách và + ( ) . -", "takes digits, blanks and + ( ) . -"),
    "email": Text("phải có dạng ten@mien.vn", "must look like name@domain.vn"),
    "url": Text("phải bắt đầu bằng http:// hoặc https://", "must start with http:// or https://"),
    "file_number": Text(
        "phải có dạng <mã cơ quan>-<yyMMdd>-<4 hoặc 5 chữ số>", "must look like <agency>-<yyMMdd>-<4 or 5 digits>"
    ),
    "identity_number": Text("phải gồm 9 đến 13 chữ số", "must be 9 to 13 digits"),
}

_TYPES: dict[str, Text] = {
    "string": Text("phải là chuỗi ký tự (đặt trong dấu ngoặc kép)", "must be text (in quotes)"),
    "integer": Text("phải là số nguyên", "must be a whole number"),
    "number": Text("phải là số", "must be a number"),
    "boolean": Text("phải là true hoặc false", "must be true or false"),
    "array": Text("phải là danh sách [ … ]", "must be a list [ … ]"),
    "object": Text("phải là đối tượng { … }", "must be an object { … }"),
    "null": Text("phải để trống", "must be null"),
}


def title(place: str) -> Text:
    """Title of the field a path or pointer ends with; its bare name when it has none."""
    names = [p for p in place.split("/") if p and not p.isdigit() and p != "*"]
    name = names[-1] if names else "data"
    return TITLES.get(name) or Text(name, name)


def say(place: str, vi: str, en: str) -> Text:
    """A sentence about a field, with its number in the list when it stands in one."""
    named = title(place)
    if number := re.search(r"/(\d+)(?:/[^/]*)?$", place):
        count = int(number.group(1)) + 1
        return Text(f"{named.vi} (mục {count}) {vi}.", f"{named.en} (no. {count}) {en}.")
    return Text(f"{named.vi} {vi}.", f"{named.en} {en}.")


def shape_message(kind: str, place: str, rule: Any, name: str) -> tuple[str, Text]:
    """(reject code, sentence) for one broken rule of the JSON Schema.

    `kind`: the schema keyword; `rule`: its value; `name`: the field's own name.
    """
    if kind == "required":
        return "required", say(place, "còn thiếu", "is missing")
    if kind == "additionalProperties":
        return "unknown_field", Text(
            f"Trường “{name[:60]}” không có trong mẫu dữ liệu; hãy bỏ đi hoặc sửa tên.",
            f"The field “{name[:60]}” is not in the data model; remove it or correct its name.",
        )
    if kind == "format" and rule == "date":
        return "invalid_date", say(place, "phải là ngày có thật, dạng YYYY-MM-DD", "must be a real day, as YYYY-MM-DD")
    if kind == "format":
        return "invalid_time", say(
            place, "phải có dạng YYYY-MM-DDTHH:mm:ss+07:00", "must look like YYYY-MM-DDTHH:mm:ss+07:00"
        )
    if kind == "enum":
        allowed = ", ".join(str(v) for v in rule if v is not None)
        return "not_allowed", say(place, f"phải là một trong: {allowed}", f"must be one of: {allowed}")
    if kind == "code":
        return "invalid_code", say(
            place,
            'phải là mã dạng chuỗi, hoặc {"system": …, "code": …}',
            'must be a code as text, or {"system": …, "code": …}',
        )
    if kind == "type":
        wanted = [t for t in (rule if isinstance(rule, list) else [rule]) if t != "null"]
        text = _TYPES.get(str(wanted[0]) if wanted else "null", _TYPES["string"])
        return "wrong_type", say(place, text.vi, text.en)
    if kind == "pattern":
        text = _SHAPES.get(name) or Text(
            "có ký tự không được phép hoặc sai dạng", "has characters that are not allowed or a wrong form"
        )
        return "invalid_form", say(place, text.vi, text.en)
    if kind in {"maxLength", "maxItems"}:
        unit = ("ký tự", "characters") if kind == "maxLength" else ("mục", "items")
        return "too_long", say(place, f"dài quá {rule} {unit[0]}", f"is longer than {rule} {unit[1]}")
    if kind == "minLength":
        text = (
            Text("không được để trống", "must not be empty")
            if rule == 1
            else Text(f"ngắn hơn {rule} ký tự", f"is shorter than {rule} characters")
        )
        return "too_short", say(place, text.vi, text.en)
    if kind in {"minimum", "exclusiveMinimum"}:
        return "out_of_range", say(place, f"không được nhỏ hơn {rule}", f"must not be below {rule}")
    if kind in {"maximum", "exclusiveMaximum"}:
        return "out_of_range", say(place, f"không được lớn hơn {rule}", f"must not be above {rule}")
    return "invalid", say(place, "không hợp lệ", "is not valid")
