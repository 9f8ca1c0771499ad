//! Texts of the usage page.

use super::{labels, translations};
use crate::dashboard::usage::query::UsageBy;
use crate::dashboard::usage::range::UsageSpan;

translations! {
    usage = "Usage", "用量";
    usage_lead = "Tokens and cost, from sums that stay when log rows are deleted", "Token 與費用，依統計值計算，刪除請求記錄後仍保留";
    usage_export = "Export CSV", "匯出 CSV";
    usage_from = "From", "起始日期";
    usage_to = "To", "結束日期";
    usage_by_what = "Group by", "分組方式";
    usage_change = "Change", "變化";
    usage_change_hint(what: &str) = "{what} compared with the period before", "{what}與前一期相比";
    usage_before(percent: &str) = "{percent}\u{a0}% vs the period before", "較前一期 {percent}\u{a0}%";
    usage_before_points(points: &str) = "{points}\u{a0}points vs the period before", "較前一期 {points}\u{a0}個百分點";
    usage_range(begin: &str, end: &str) = "{begin} to {end}", "{begin} 至 {end}";
    usage_compared_with(range: &str) = "compared with {range}", "與 {range} 比較";
    usage_saved = "Saved by retries", "重試救回";
    usage_saved_hint = "Successes with more than one attempt", "經過一次以上嘗試而成功的請求";
    usage_saved_text = "failures that clients never saw", "用戶端未察覺的失敗";
    usage_saved_short = "Saved", "重試救回";
    usage_attempts = "Attempts", "嘗試次數";
    usage_cached = "Cached", "快取";
    usage_input = "Input", "輸入";
    usage_output = "Output", "輸出";
    usage_thoughts = "Thoughts", "思考";
    usage_others = "Others", "其他";
    usage_not_answered = "neither success nor failure", "不計成敗";
    usage_no_client = "no client key", "無用戶端金鑰";
    usage_no_tag = "no tag", "無標籤";
    usage_requests_chart = "Requests", "請求數";
    usage_its_logs = "Logs", "記錄";
    usage_of_days = "Upstream keys, projects and tags are counted by attempt, in whole days of UTC.", "上游金鑰、專案與標籤以嘗試次數計算，並以 UTC 整日為單位。";
    usage_of_long_range = "Ranges of more than a month are counted in whole days of UTC.", "超過一個月的期間以 UTC 整日為單位計算。";
    usage_of_tags = "A key with several tags counts under each of them.", "有多個標籤的金鑰會計入每個標籤。";
    usage_is_cut = "The range was shortened to its end: with so many keys, a longer one would take too long to add up.", "金鑰數量眾多，較長的期間無法即時加總，因此只顯示期間的最後部分。";
    usage_list_price = "Cost is estimated at list price; free projects cost nothing.", "費用依定價估算，免費專案不計費。";
    usage_hours_without_requests(count) = "hour without requests" | "hours without requests", "{count} 小時沒有請求";
    usage_days_without_requests(count) = "day without requests" | "days without requests", "{count} 天沒有請求";
    usage_months_without_requests(count) = "month without requests" | "months without requests", "{count} 個月沒有請求";
    usage_none_title = "No requests in this period", "此期間沒有請求";
    usage_none_text = "Choose a longer period, or send a first request with a client key.", "請選擇較長的期間，或以用戶端金鑰送出第一個請求。";
    usage_longer = "Last 90 days", "最近 90 天";
    usage_to_first_request = "How to send a request", "如何送出請求";
    usage_open_key = "Open this key", "開啟此金鑰";
    usage_all = "Its usage", "查看用量";
}

labels! {
    usage_span(UsageSpan) {
        Today = "Today", "今天";
        Hours = "24 h", "24 小時";
        Week = "7 d", "7 天";
        Days = "30 d", "30 天";
        ThisMonth = "This month", "本月";
        LastMonth = "Last month", "上月";
        Quarter = "90 d", "90 天";
    }
    usage_by(UsageBy) {
        Model = "Model", "模型";
        Client = "Client key", "用戶端金鑰";
        Key = "Upstream key", "上游金鑰";
        Project = "Project", "專案";
        Tag = "Tag", "標籤";
        Time = "Time", "時間";
    }
}
