//! Texts of the quota page.

use super::translations;

translations! {
    quota = "Quota", "配額";
    quota_day_ends = "Google's day ends", "Google 的配額日結束於";
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
    quota_by_project_hint = "Those with the least left first. Each cell has the usage and the limit that is used up most, counted by this server.", "剩餘最少者在前。每格為本伺服器統計的用量，以及使用比例最高的上限。";
    quota_more_models(models: &str) = "{models} more models: choose one in the filter.", "另有 {models} 個模型，請在篩選中選擇。";
    quota_other_projects(projects: &str) = "{projects} other projects, requests per day", "其他 {projects} 個專案（每日請求數）";
    quota_no_working_key = "no working key", "沒有可用的金鑰";
    quota_resets(measure: &str, at: &str) = "{measure}, resets at {at}", "{measure}，重設於 {at}";
    quota_reset = "Reset", "重設";
    quota_since(date: &str) = "since {date}", "自 {date}";
    quota_back = "back", "恢復於";
    quota_no_match = "No project matches", "沒有符合的專案";
    quota_no_match_text = "Change or clear the filters.", "請變更或清除篩選。";
}
