//! Texts of the account page.

use super::{labels, translations};
use crate::auth::password::PasswordWeakness;

translations! {
    change_password = "Change password", "變更密碼";
    current_password = "Current password", "目前的密碼";
    new_password = "New password", "新密碼";
    repeat_password = "Repeat new password", "再次輸入新密碼";
    password_hint = "At least 8 characters. A change signs you out everywhere else.", "至少 8 個字元。變更後，其他裝置會自動登出。";
    password_wrong = "This is not your current password", "目前的密碼不正確";
    passwords_differ = "The two new passwords are different", "兩次輸入的新密碼不同";
    password_changed(others: usize) = "Password changed; other sessions signed out: {others}", "密碼已變更；已登出其他 {others} 個工作階段";
    password_since = "Password last changed", "密碼變更時間";
    time_zone = "Time zone", "時區";
    zone_hint = "All pages show times in this zone, for example Asia/Taipei or UTC.", "所有頁面的時間都以此時區顯示，例如 Asia/Taipei 或 UTC。";
    zone_unknown = "Unknown time zone: enter a name such as Asia/Taipei", "沒有這個時區，請輸入 Asia/Taipei 這類名稱";
    zone_saved(zone: &str) = "Times are now shown in {zone}", "時間現在以 {zone} 顯示";
    sign_ins = "Sessions", "工作階段";
    this_browser = "this browser", "此瀏覽器";
    address = "IP address", "IP 位址";
    browser = "Browser", "瀏覽器";
    since = "Signed in", "登入時間";
    last_seen = "Last used", "最近使用";
    end_sign_in = "Sign out", "登出";
    end_others = "Sign out everywhere else", "登出其他所有裝置";
    sign_in_ended = "That session is signed out", "已登出該工作階段";
    sign_ins_ended(count: usize) = "Other sessions signed out: {count}", "已登出其他 {count} 個工作階段";
    choose_zone = "Show times in", "時間顯示時區";
}

labels! {
    password_weakness(PasswordWeakness) {
        TooShort = "Too short: at least 8 characters", "太短：至少 8 個字元";
        TooLong = "Too long: at most 200 characters", "太長：最多 200 個字元";
        Common = "This password is too common: choose another", "這個密碼太常見，請換一個";
    }
}
