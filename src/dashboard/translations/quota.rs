//! Texts of the quota page.

use super::{labels, translations};
use crate::pool::what_if::{KeyOrder, WhatIfSetting};

translations! {
    quota = "Quota", "配額";
    quota_day_ends = "Google's day ends", "Google 配額日結束：";
    quota_no_keys = "No projects yet", "還沒有專案";
    quota_no_keys_text = "Quota belongs to Google's projects. Add upstream keys, and their projects appear here.", "配額屬於 Google 專案。新增上游金鑰後，其專案會顯示於此。";
    quota_import = "Add upstream keys", "新增上游金鑰";
    quota_forecast = "Forecast", "預測";
    quota_forecast_hint = "From the last three hours and the same hours of earlier days, for the daily limits of requests that are known. Other programs with the same projects are not counted.", "依最近三小時與前幾日同時段的請求數，就已知的每日請求上限推估；不含使用相同專案的其他程式。";
    quota_nothing_known = "No model has been used today, and no limit is known yet. Google names its limits when it refuses a request.", "今天尚未使用任何模型，也還不知道任何上限。Google 會在拒絕請求時告知上限。";
    quota_used_today = "Used today", "今日已用";
    quota_limit = "Limit", "上限";
    quota_left = "Left", "剩餘";
    quota_held_back = "Held back", "暫停使用";
    quota_missing_in(projects: &str) = "no quota in {projects} projects", "{projects} 個專案沒有配額";
    quota_missing = "not offered", "未提供";
    quota_missing_hint = "This project has never had quota for the model, as free projects have none for some models. Nothing is wrong with its keys.", "此專案從未擁有該模型的配額（例如免費專案不含部分模型），金鑰並無異常。";
    quota_not_offered = "no project has it", "沒有專案提供";
    quota_unknown = "daily limit unknown", "每日上限未知";
    quota_idle = "no requests expected", "預期沒有請求";
    quota_lasts = "lasts until the reset", "可用到重設";
    quota_expected(expected: &str, spare: &str) = "about {expected} more requests, {spare} to spare", "預計還有 {expected} 個請求，餘裕 {spare}";
    quota_runs_out = "runs out", "將用完";
    quota_short_of(missing: &str, projects: &str) = "about {missing} requests short: {projects} would be enough", "約缺 {missing} 個請求，需再增加{projects}";
    quota_projects(projects) = "more project" | "more projects", " {projects} 個專案";
    quota_every_model = "All models", "所有模型";
    quota_by_project = "Projects", "專案";
    quota_by_project_hint = "Those with the least left first. Each cell has the usage and the limit that is used up most, counted by this server: requests per day, unless another measure is named.", "剩餘最少者在前。每格為本伺服器統計的用量，以及使用比例最高的上限；未另標明者為每日請求數。";
    quota_more_models(models: &str) = "{models} more models: choose one in the filter.", "另有 {models} 個模型，請在篩選中選擇。";
    quota_other_projects(projects: &str) = "{projects} other projects, requests per day", "其他 {projects} 個專案（每日請求數）";
    quota_no_working_key = "no working key", "沒有可用的金鑰";
    quota_resets(measure: &str, at: &str) = "{measure}, resets at {at}", "{measure}，重設於 {at}";
    quota_reset = "Reset", "重設";
    quota_since(date: &str) = "since {date}", "自 {date}";
    quota_back = "back", "恢復於";
    quota_no_match = "No project matches", "沒有符合的專案";
    quota_no_match_text = "Change or clear the filters.", "請變更或清除篩選。";
    what_if = "What if", "假設分析";
    what_if_lead(most: &str) = "Replays the latest requests of the log, at most {most}, against the limits and failures that the pool has observed: once with the present settings and once with one of them changed. Nothing is sent to Google.", "以金鑰池觀測到的上限與失敗情形，重播記錄中最近的請求（最多 {most} 個）：一次採用目前設定，一次變更其中一項。不會向 Google 送出任何請求。";
    what_if_changed_setting = "Change", "變更項目";
    what_if_present(wait: u64, attempts: u32, concurrency: u32) = "Now: wait {wait} s, {attempts} attempts, {concurrency} concurrent requests per key (0: no limit)", "目前：等待 {wait} 秒、嘗試 {attempts} 次、每個金鑰的同時請求數 {concurrency}（0 為不限制）";
    what_if_value = "New value", "新的值";
    what_if_value_hint = "For every change but the order of keys", "用於金鑰順序以外的變更";
    what_if_order_hint = "Only for a change of the order", "僅用於變更順序";
    what_if_span = "Requests from the last", "請求時間範圍";
    what_if_hours(hours: u32) = "{hours} h", "最近 {hours} 小時";
    what_if_run = "Replay", "重播";
    what_if_bad_value = "Enter a whole number without separators: seconds up to 3600, attempts from 1 to 100, concurrent requests up to 10000, projects from 1 to 10000", "請輸入整數，不加千分位：秒數最多 3600，嘗試次數 1 到 100，同時請求數最多 10000，專案數 1 到 10000";
    what_if_change(setting: &str, value: &str) = "{setting}: {value}", "{setting}：{value}";
    what_if_replayed(requests: &str, keys: &str) = "{requests} requests were replayed with {keys} usable keys:", "以 {keys} 個可用金鑰重播了 {requests} 個請求：";
    what_if_left_out(requests: &str) = "{requests} earlier requests of the span were left out. The replayed ones follow each other without a gap, so that the load is the real one.", "此範圍內較早的 {requests} 個請求未納入。重播的請求為連續區段，負載與實際相同。";
    what_if_no_requests = "The log has no requests for models in this span. Choose a longer one.", "此範圍內沒有針對模型的請求，請選擇較長的範圍。";
    what_if_figure = "Figure", "項目";
    what_if_actual = "What happened", "實際情形";
    what_if_with_present = "Replay, settings as now", "重播：目前設定";
    what_if_with_change = "Replay, changed", "重播：變更後";
    what_if_answered = "Answered", "獲得回應";
    what_if_refused = "Refused: no key or quota", "被拒絕：無可用金鑰或配額";
    what_if_failed = "Failed at Google or on the way", "Google 端或連線失敗";
    what_if_attempts = "Attempts", "嘗試次數";
    what_if_waited = "Answered after a wait for a key", "等待金鑰後獲得回應";
    what_if_median_wait = "Median wait", "等待時間中位數";
    what_if_p95_wait = "95th percentile of the wait", "等待時間第 95 百分位";
    what_if_same(share: &str) = "{share} of the requests end in the replay with the present settings as they did. The further it is from what happened, the less the last column is worth: compare it with the middle one.", "以目前設定重播時，{share} 的請求結果與實際相同。與實際差距越大，最後一欄越不可靠；請將它與中間一欄比較。";
    what_if_limits_title = "What the replay cannot know", "重播無法得知的事項";
    what_if_limit_keys = "Keys that were added, removed, disabled or refused since: it uses the keys that can be used now.", "其間新增、刪除、停用或被拒絕的金鑰：重播一律使用目前可用的金鑰。";
    what_if_limit_quota = "Limits that Google never named: such a project has used-up quota only when and as long as the log shows it, and other programs that use the same quota are not seen.", "Google 從未告知的上限：這類專案僅在記錄顯示時視為配額用盡，也看不到共用同一配額的其他程式。";
    what_if_limit_faults = "When exactly Google would have failed: each model fails as often as it did in the same minute.", "Google 確切何時會失敗：每個模型在同一分鐘內的失敗比例與實際相同。";
    what_if_limit_clients = "What clients would have done: a program that gets an answer later, or none, sends other requests than it did.", "用戶端的反應：較晚獲得回應或未獲回應的程式，之後送出的請求會不同。";
    what_if_limit_routes = "Tags of client keys, egress proxies, resources that belong to one project, fallback models and second attempts at the same time: they are left out.", "用戶端金鑰的標籤、對外代理伺服器、屬於單一專案的資源、備援模型與同時嘗試：皆未納入。";
}

labels! {
    what_if_setting(WhatIfSetting) {
        WaitForKeySeconds = "Wait for a key (seconds)", "等待金鑰的秒數";
        MaxAttempts = "Max total attempts", "嘗試次數上限";
        PerKeyConcurrency = "Concurrent requests per key", "每個金鑰的同時請求數";
        MoreProjects = "More projects with one key each", "增加專案（各一個金鑰）";
        KeyOrder = "Order of keys", "金鑰順序";
    }

    key_order(KeyOrder) {
        OnePriority = "all with the same priority", "全部優先順序相同";
        FreeFirst = "free projects first", "免費專案優先";
        PaidFirst = "paid projects first", "付費專案優先";
    }
}
