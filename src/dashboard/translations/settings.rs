//! Texts of the pages about settings; what each setting is called stands in their catalogue.

use super::{Language, plural, translations};

translations! {
    settings_search = "Search settings", "搜尋設定";
    no_setting_matches(search: &str) = "No setting matches “{search}”", "沒有符合「{search}」的設定";
    no_setting_matches_text = "The search looks at names and explanations, in both languages.", "搜尋範圍包含兩種語言的名稱與說明。";
    all_are_defaults = "All settings have their defaults.", "所有設定皆為預設值。";
    show_changed_settings = "Show only these", "只顯示這些";
    show_all_settings = "Show all settings", "顯示所有設定";
    setting_groups = "Groups of settings", "設定分組";
    effective_at_once = "A change takes effect on the next request, without a restart.", "變更會在下一個請求生效，無須重新啟動。";
    switched_on = "on", "開啟";
    switched_off = "off", "關閉";
    on_or_off = "On or off", "開啟或關閉";
    from_to(least: &str, most: &str) = "{least} to {most}", "{least} 到 {most}";
    up_to_or_empty(most: &str, empty: &str) = "up to {most}; empty: {empty}", "最多 {most}；留空：{empty}";
    write_whole_number(bounds: &str) = "Write a whole number: {bounds}", "請輸入整數：{bounds}";
    write_value(expected: &str) = "Write: {expected}", "請輸入：{expected}";
    write_value_like(bounds: &str, example: &str) = "Write {bounds}, as in “{example}”", "請輸入 {bounds}，例如「{example}」";
    setting_default(value: &str) = "Default: {value}", "預設：{value}";
    setting_changed = "changed", "已變更";
    setting_history = "History", "變更紀錄";
    setting_history_of(title: &str) = "History: {title}", "變更紀錄：{title}";
    reset_setting = "Reset to default", "恢復預設值";
    reset_setting_of(title: &str) = "Reset to default: {title}", "恢復預設值：{title}";
    save_group(group: &str) = "Save: {group}", "儲存：{group}";
    setting_is(title: &str, before: &str, after: &str) = "{title}: {before} → {after}", "{title}：{before} → {after}";
    nothing_to_save = "Nothing was changed", "沒有任何變更";
    not_saved = "Nothing was saved yet: mend what is marked.", "尚未儲存：請修正標示的欄位。";
    changed_since = "Not undone: it was changed again since. Its history leads back to any value.", "未復原：之後已再次變更。可從變更紀錄回到任一先前的值。";
    all_default = "not from its default", "未變更，為預設值";
    setting_in_use = "In use", "目前的值";
    setting_default_word = "Default", "預設值";
    setting_bounds = "Allowed", "可用範圍";
    setting_name = "Name", "名稱";
    setting_command = "On the command line", "命令列";
    setting_since = "Changed", "變更時間";
    setting_value = "Value", "值";
    setting_before_after = "Before → after", "變更前 → 變更後";
    back_to_value(value: &str) = "Back to {value}", "回到 {value}";
    never_changed = "It was never changed", "從未變更";
    never_changed_text = "Each change will stand here with who made it, from where, and a way back.", "每次變更都會列在這裡，包含執行者、來源與回到先前的方式。";
    fixed_at_start = "Fixed at the start", "啟動時固定";
    fixed_at_start_text = "These come from flags and the environment. To change one, change it there and start the server again.", "這些值來自啟動參數與環境變數。若要變更，請在該處修改並重新啟動伺服器。";
    config_listen = "Address it listens on", "監聽位址";
    config_database = "Database", "資料庫";
    config_upstream = "Where requests are sent", "請求送往";
    config_public_url = "How clients reach it", "對外網址";
    config_proxies = "Proxies that are believed", "信任的代理伺服器";
    config_unset = "not set", "未設定";
}

impl Language {
    pub fn settings_changed(self, count: usize) -> String {
        let count = count as u64;
        match self {
            Self::English => format!("{} changed", plural(count, "setting", "settings")),
            Self::TraditionalChinese => format!("已變更 {} 項設定", super::grouped(count)),
        }
    }

    pub fn differ_from_defaults(self, count: usize, all: usize) -> String {
        match self {
            Self::English if count == 1 => format!("1 of {all} differs from its default."),
            Self::English => format!("{count} of {all} differ from their defaults."),
            Self::TraditionalChinese => format!("{all} 項中有 {count} 項與預設值不同。"),
        }
    }
}
