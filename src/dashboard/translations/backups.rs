//! Texts of the backups page.

use super::translations;

translations! {
    back_up_now = "Back up now", "立即備份";
    last_backup = "Last backup", "最近一次備份";
    no_backups = "No backups yet", "還沒有備份";
    no_backups_text = "A backup is one file with all data except sign-in sessions. It is created while requests are served, and verified before it is listed.", "備份是一個檔案，包含登入工作階段以外的所有資料。備份期間仍會處理請求；備份通過驗證後才會列出。";
    backup_holds = "A backup contains your upstream keys in readable form. Protect it like the keys themselves.", "備份內含可讀取的上游金鑰，請比照金鑰妥善保管。";
    backup_holds_encrypted = "A backup contains your upstream keys, encrypted with the master key whose ID is shown. Keep a copy of that key elsewhere: without it, they cannot be read.", "備份內含以主金鑰加密的上游金鑰，表中列出主金鑰的識別碼。請另外保存主金鑰，否則無法讀取。";
    backup_master_key = "Master key", "主金鑰";
    backup_not_encrypted = "not encrypted", "未加密";
    download_lead_encrypted = "Anyone with this file and its master key has your upstream keys. Enter your password to continue.", "同時取得此檔案與主金鑰的人即可使用您的上游金鑰。請輸入密碼以繼續。";
    backup_name = "File", "檔案";
    backup_made = "Created", "建立時間";
    backup_size = "Size", "大小";
    backup_check = "Verification", "驗證";
    backup_verified = "verified", "已驗證";
    backup_verified_hint = "Read completely and found intact after it was created", "建立後已完整讀取，確認無誤";
    backup_actions = "Actions", "動作";
    download = "Download", "下載";
    download_of(name: &str) = "Download {name}", "下載 {name}";
    delete_of(name: &str) = "Delete {name}…", "刪除 {name}…";
    backup_copying = "Copying the database", "正在複製資料庫";
    backup_copied(done: &str, whole: &str) = "{done} of at most {whole}", "已複製 {done}，最多 {whole}";
    backup_checking = "Verifying the copy", "正在驗證副本";
    backup_running = "Backup in progress", "正在備份";
    reload_page = "Reload", "重新整理";
    backup_already_running = "A backup is already in progress", "已有備份正在進行";
    backup_failed = "The last backup failed", "上一次備份失敗";
    backup_is_deleted(name: &str) = "Deleted {name}", "已刪除 {name}";
    delete_backup = "Delete backup", "刪除備份";
    delete_backup_question(name: &str) = "Delete {name}?", "要刪除 {name} 嗎？";
    delete_backup_text = "The file is deleted from the server. This cannot be undone.", "檔案將從伺服器刪除，此動作無法復原。";
    download_lead = "Anyone with this file has your upstream keys. Enter your password to continue.", "取得此檔案的人即可使用您的上游金鑰。請輸入密碼以繼續。";
    keep_and_restore = "Storage and restore", "保存與還原";
    backups_kept_in = "Folder on the server:", "伺服器上的資料夾";
    restore_lead = "To restore a backup, stop the server and run", "若要還原備份，請先停止伺服器，再執行";
    backup_schedule = "Schedule", "排程";
    next_backup = "Next scheduled backup", "下次排程備份";
    not_scheduled = "not scheduled", "未排程";
    overdue = "overdue", "逾期";
    backup_scheduled = "scheduled", "排程";
    change_schedule = "Change", "變更";
    regular_lead = "For regular backups to another folder or disk, run this from cron or a systemd timer:", "若要定期備份到其他資料夾或磁碟，請以 cron 或 systemd timer 執行";
}
