//! Texts of the settings pages; the catalogue contains the texts of each setting.

use super::{Language, translations};

translations! {
    unsaved_groups = "Other groups have changes that are not saved, and would be lost. Save only this group?", "其他群組有尚未儲存的變更，將會遺失。仍只儲存此群組？";
    settings_search = "Search settings", "搜尋設定";
    no_setting_matches(search: &str) = "No setting matches “{search}”", "沒有符合「{search}」的設定";
    no_setting_matches_text = "The search covers names and explanations in both languages.", "搜尋範圍包含兩種語言的名稱與說明。";
    all_are_defaults = "All settings have their default values.", "所有設定皆為預設值。";
    show_changed_settings = "Show only these", "只顯示這些";
    show_all_settings = "Show all settings", "顯示所有設定";
    setting_groups = "Groups of settings", "設定分組";
    effective_at_once = "A change applies from the next request on, without a restart.", "變更從下一個請求開始生效，無須重新啟動。";
    switched_on = "on", "開啟";
    switched_off = "off", "關閉";
    on_or_off = "On or off", "開啟或關閉";
    from_to(min: &str, max: &str) = "{min} to {max}", "{min} 到 {max}";
    up_to_or_empty(max: &str, empty: &str) = "up to {max}; blank: {empty}", "最多 {max}；留空：{empty}";
    write_whole_number(bounds: &str) = "Enter a whole number: {bounds}", "請輸入整數：{bounds}";
    write_value(expected: &str) = "Enter: {expected}", "請輸入：{expected}";
    invalid_entry(message: &str, entry: &str) = "{message} (invalid: “{entry}”)", "{message}（無效的項目：「{entry}」）";
    write_value_like(bounds: &str, example: &str) = "Enter {bounds}, for example “{example}”", "請輸入 {bounds}，例如「{example}」";
    setting_default(value: &str) = "Default: {value}", "預設：{value}";
    setting_changed = "changed", "已變更";
    setting_history = "History", "變更記錄";
    setting_history_of(title: &str) = "History: {title}", "變更記錄：{title}";
    reset_setting = "Reset to default", "恢復預設值";
    reset_setting_of(title: &str) = "Reset to default: {title}", "恢復預設值：{title}";
    save_group(group: &str) = "Save: {group}", "儲存：{group}";
    setting_is(title: &str, before: &str, after: &str) = "{title}: {before} → {after}", "{title}：{before} → {after}";
    nothing_to_save = "Nothing was changed", "沒有任何變更";
    not_saved = "Not saved. Correct the marked fields.", "尚未儲存，請修正標示的欄位。";
    changed_since = "Not undone: the setting was changed again in the meantime. Its history can restore any earlier value.", "未復原：此設定之後已再次變更。可從變更記錄還原任一先前的值。";
    all_default = "default value", "預設值";
    setting_in_use = "In use", "目前的值";
    setting_default_word = "Default", "預設值";
    setting_bounds = "Allowed values", "可用範圍";
    setting_name = "Name", "名稱";
    setting_command = "On the command line", "命令列";
    setting_since = "Changed", "變更時間";
    setting_value = "Value", "值";
    setting_before_after = "Before → after", "變更前 → 變更後";
    back_to_value(value: &str) = "Restore {value}", "還原為 {value}";
    never_changed = "This setting was never changed", "此設定從未變更";
    never_changed_text = "Each change is listed here with the admin, the IP address and a button that restores the earlier value.", "每次變更都會列在這裡，包含管理者、IP 位址，以及還原先前值的按鈕。";
    fixed_at_start = "Startup options (read-only)", "啟動參數（唯讀）";
    fixed_at_start_text = "These values come from command-line flags and environment variables. To change one, change the flag or variable and restart the server.", "這些值來自命令列參數與環境變數。若要變更，請修改參數或環境變數，再重新啟動伺服器。";
    config_listen = "Listen address", "監聽位址";
    config_database = "Database file", "資料庫檔案";
    config_upstream = "Upstream URL", "上游 URL";
    config_public_url = "Public URL for clients", "供用戶端使用的公開 URL";
    config_proxies = "Trusted proxies", "信任的代理伺服器";
    config_unset = "not set", "未設定";
    settings_changed(count) = "setting changed" | "settings changed", "已變更 {count} 項設定";
}

impl Language {
    pub fn differ_from_defaults(self, count: usize, all: usize) -> String {
        match self {
            Self::English if count == 1 => format!("1 of {all} differs from its default."),
            Self::English => format!("{count} of {all} differ from their defaults."),
            Self::TraditionalChinese => format!("{all} 項中有 {count} 項與預設值不同。"),
        }
    }
}
