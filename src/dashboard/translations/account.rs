//! Texts of the account's page.

use super::translations;

translations! {
    change_password = "Change password", "變更密碼";
    current_password = "Current password", "目前的密碼";
    new_password = "New password", "新密碼";
    repeat_password = "New password again", "再次輸入新密碼";
    password_hint = "At least 8 characters. Other sign-ins end.", "至少 8 個字元。其他登入會被結束。";
    password_wrong = "This is not your current password", "目前的密碼不正確";
    password_too_short = "Too short: at least 8 characters", "太短：至少 8 個字元";
    password_too_long = "Too long: at most 200 characters", "太長：最多 200 個字元";
    password_well_known = "Everybody tries this one first: choose another", "這是最常被猜測的密碼，請換一個";
    passwords_differ = "The two new passwords differ", "兩次輸入的新密碼不同";
    password_changed(others: usize) = "Password changed; {others} other sign-ins ended", "密碼已變更；已結束其他 {others} 個登入";
    password_since = "Password set", "密碼設定於";
    time_zone = "Time zone", "時區";
    zone_hint = "Times on every page are shown in it, as in Asia/Taipei or UTC.", "所有頁面的時間都以此時區顯示，例如 Asia/Taipei 或 UTC。";
    zone_unknown = "There is no such time zone: write one like Asia/Taipei", "沒有這個時區，請輸入如 Asia/Taipei 的名稱";
    zone_saved(zone: &str) = "Times are shown in {zone} now", "時間現在以 {zone} 顯示";
    sign_ins = "Where you are signed in", "已登入的裝置";
    this_browser = "this browser", "此瀏覽器";
    address = "Address", "位址";
    browser = "Browser", "瀏覽器";
    since = "Since", "開始於";
    last_seen = "Last seen", "最後使用";
    end_sign_in = "Sign out", "登出";
    end_others = "Sign out everywhere else", "登出其他所有裝置";
    sign_in_ended = "That sign-in is ended", "該登入已結束";
    sign_ins_ended(count: usize) = "{count} other sign-ins ended", "已結束其他 {count} 個登入";
    choose_zone = "Show times in", "時間顯示時區";
}
