//! Texts of the page about backups.

use super::translations;

translations! {
    back_up_now = "Back up now", "立即備份";
    last_backup = "Last backup", "最近一次備份";
    no_backups = "No backups yet", "還沒有備份";
    no_backups_text = "A backup is one file with everything but sign-in sessions. It is made while requests are served, and checked before it counts.", "備份是一個檔案，包含登入工作階段以外的所有資料。製作期間服務不中斷，並在完成前通過檢查。";
    backup_holds = "A backup holds your upstream keys in readable form: keep it as you keep the keys.", "備份內含可讀取的上游金鑰：請比照金鑰妥善保管。";
    backup_name = "File", "檔案";
    backup_made = "Made", "建立時間";
    backup_size = "Size", "大小";
    backup_check = "Check", "檢查";
    backup_verified = "verified", "已驗證";
    backup_verified_hint = "Read whole and found sound when it was made", "建立時已完整讀取並確認無誤";
    backup_actions = "Actions", "動作";
    download = "Download", "下載";
    download_of(name: &str) = "Download {name}", "下載 {name}";
    delete_of(name: &str) = "Delete {name}", "刪除 {name}";
    backup_copying = "Copying the database", "正在複製資料庫";
    backup_copied(done: &str, whole: &str) = "{done} of at most {whole}", "{done}，最多 {whole}";
    backup_checking = "Checking the copy", "正在檢查副本";
    backup_running = "A backup is being made", "正在製作備份";
    reload_page = "Look again", "重新整理";
    backup_already_running = "A backup is being made already", "已有備份正在製作";
    backup_failed = "The last backup failed", "上一次備份失敗";
    backup_is_deleted(name: &str) = "Deleted {name}", "已刪除 {name}";
    delete_backup = "Delete backup", "刪除備份";
    delete_backup_question(name: &str) = "Delete {name}?", "要刪除 {name} 嗎？";
    delete_backup_text = "The file is removed from the server. This cannot be undone.", "檔案將從伺服器移除，此動作無法復原。";
    download_lead = "Whoever has this file has your upstream keys. Enter your password to go on.", "取得此檔案的人即可取得您的上游金鑰。請輸入密碼以繼續。";
    keep_and_restore = "Keep and restore", "保存與還原";
    backups_kept_in = "Kept on the server in", "存放於伺服器的";
    restore_lead = "To go back to a backup, stop the server and run", "若要還原備份，請停止伺服器後執行";
    regular_lead = "For regular backups, have cron or a systemd timer run", "若要定期備份，請以 cron 或 systemd timer 執行";
}
