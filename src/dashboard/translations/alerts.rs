//! Texts of the alerts page.

use super::{Language, labels, translations};
use crate::pool::alert_schedule::{AlertPhase, DeliveryState};
use crate::pool::alerts::AlertSeverity;
use crate::storage::alert_targets::{AlertLanguage, AlertTargetKind};

translations! {
    alerts = "Alerts", "警示";
    alerts_lead = "Messages when the pool needs attention, and when it is over.", "需要注意時送出訊息，解除時再通知一次。";
    alert_targets = "Targets", "接收端";
    new_alert_target = "New target", "新增接收端";
    create_alert_target = "Create target", "建立接收端";
    edit_alert_target(name: &str) = "Edit the target {name}", "編輯接收端「{name}」";
    no_alert_targets = "No targets yet", "還沒有接收端";
    no_alert_targets_text = "A target is a webhook, a Slack or Discord channel, a Telegram chat or a mail address. Add one, and test it.", "接收端可以是 Webhook、Slack 或 Discord 頻道、Telegram 聊天室或電子郵件地址。請新增一個並測試。";
    alert_hint = "Get a message when something needs attention", "需要注意時接收訊息通知";
    alert_target_name = "Name", "名稱";
    alert_target_kind = "Kind", "類型";
    alert_address = "Sent to", "送往";
    alert_events = "Events", "事件";
    all_alert_events = "all", "全部";
    alert_events_counted(count) = "event" | "events", "{count} 種事件";
    alert_last_message = "Last message", "最近訊息";
    alert_actions = "Actions", "動作";
    alert_test = "Test", "測試";
    alert_test_of(name: &str) = "Test {name}", "測試 {name}";
    alert_edit_of(name: &str) = "Edit {name}", "編輯 {name}";
    alert_switch_on(name: &str) = "Enable {name}", "啟用 {name}";
    alert_switch_off(name: &str) = "Disable {name}", "停用 {name}";
    alert_test_sent(name: &str) = "Test message sent to {name}", "已將測試訊息送至 {name}";
    alert_test_failed(name: &str, error: &str) = "The test message to {name} failed: {error}", "送往 {name} 的測試訊息失敗：{error}";
    alert_target_is_made(name: &str) = "{name} created", "已建立 {name}";
    alert_target_saved(name: &str) = "{name} saved", "已儲存 {name}";
    alert_target_enabled(name: &str) = "{name} enabled", "已啟用 {name}";
    alert_target_disabled(name: &str) = "{name} disabled", "已停用 {name}";
    alert_target_deleted(name: &str) = "{name} deleted", "已刪除 {name}";
    alert_target_off = "disabled", "已停用";
    delete_alert_target_question(name: &str) = "Delete the target {name}?", "要刪除接收端「{name}」嗎？";
    delete_alert_target_text = "It gets no more messages, and its messages disappear from the log. This cannot be undone.", "此接收端將不再收到訊息，其訊息也會從記錄中消失。此操作無法復原。";
    delete_alert_target = "Delete target", "刪除接收端";
    signing_secret = "Signing secret", "簽章金鑰";
    signing_secret_text = "The receiver needs this secret to verify the signature of each message (Standard Webhooks).", "接收端需要此金鑰來驗證每則訊息的簽章（Standard Webhooks）。";
    signing_secret_now = "Copy the secret now: it is not shown again.", "請立即複製此金鑰，之後不會再顯示。";
    to_alerts = "To the alerts", "前往警示頁面";
    secret_shown_already = "The secret was shown already", "金鑰已顯示過";
    secret_shown_already_text = "It cannot be shown again. Enter another one on the page of the target if it was lost.", "金鑰無法再次顯示。若已遺失，請在接收端的編輯頁面輸入新的金鑰。";
    open_alerts = "Open alerts", "進行中的警示";
    no_open_alerts = "Nothing needs attention", "目前沒有需要注意的事項";
    alert_since = "Since", "開始時間";
    alert_what = "Alert", "警示";
    alert_severity_column = "Severity", "嚴重程度";
    alert_log = "Messages", "訊息記錄";
    no_alert_messages = "No message was sent yet.", "還沒有送出任何訊息。";
    alert_created_at = "Time", "時間";
    alert_target = "Target", "接收端";
    alert_result = "Result", "結果";
    alert_attempts(count) = "attempt" | "attempts", "{count} 次嘗試";
    alert_next_attempt = "next attempt", "下次嘗試";
    alert_url = "URL", "網址";
    alert_url_hint = "Where messages are posted. Once stored, it is never shown in full again.", "訊息會送往此網址。網址儲存後不會再完整顯示。";
    alert_keep_blank = "Leave blank to keep the current value.", "留空則保留目前的值。";
    alert_secret_hint = "Leave blank to create one. It begins with whsec_.", "留空則自動產生。以 whsec_ 開頭。";
    slack_hint = "The address of an incoming webhook of Slack, or of a program with the same form.", "Slack 傳入 Webhook 的網址，或格式相同的其他服務。";
    discord_hint = "The URL of a webhook in the settings of a channel.", "頻道設定中的 Webhook 網址。";
    telegram_token = "Token of the bot", "機器人權杖";
    telegram_token_hint = "From @BotFather, for example 123456:ABC…", "由 @BotFather 取得，例如 123456:ABC…";
    telegram_chat = "Chat", "聊天室";
    telegram_chat_hint = "Its numeric id, or @name of a channel. The bot must be a member.", "聊天室的數字 ID，或頻道的 @名稱。機器人必須是成員。";
    telegram_server = "Server of the bot API", "Bot API 伺服器";
    mail_to = "Recipient", "收件者";
    mail_from = "Sender", "寄件者";
    mail_host = "Mail server", "郵件伺服器";
    mail_port = "Port", "連接埠";
    mail_security = "Encryption", "加密方式";
    mail_tls = "TLS (port 465)", "TLS（連接埠 465）";
    mail_starttls = "STARTTLS (port 587)", "STARTTLS（連接埠 587）";
    mail_plain = "none (same machine only)", "無（僅限同一部主機）";
    mail_user = "User", "使用者";
    mail_user_hint = "Leave blank if the server needs no password.", "若伺服器不需要密碼，請留空。";
    alert_language = "Language of messages", "訊息語言";
    quiet_from = "Quiet hours from", "勿擾時段開始";
    quiet_to = "to", "結束";
    quiet_hint(zone: &str) = "During this time only critical alerts are sent; the others follow at its end. Times in {zone}. Blank: none.", "此時段內只送出嚴重警示，其他警示在時段結束後送出。時間以 {zone} 時區為準。留空表示不設定。";
    quiet_hours = "Quiet hours", "勿擾時段";
    alert_bad_name = "Enter a name of 1 to 100 characters", "請輸入 1 至 100 個字元的名稱";
    alert_name_taken = "Another target has this name", "已有其他接收端使用此名稱";
    alert_bad_url = "Enter a URL that begins with https:// or http://", "請輸入以 https:// 或 http:// 開頭的網址";
    alert_bad_secret = "Enter a secret that begins with whsec_, followed by 24 to 64 bytes in Base64", "請輸入以 whsec_ 開頭、其後為 24 至 64 位元組 Base64 的金鑰";
    alert_bad_token = "Enter the token of the bot", "請輸入機器人權杖";
    alert_secret_of_another = "Enter it again for another server", "變更伺服器時必須重新輸入";
    alert_bad_chat = "Enter the id of the chat", "請輸入聊天室 ID";
    alert_bad_mailbox = "Enter a mail address", "請輸入電子郵件地址";
    alert_bad_host = "Enter the host name of the mail server", "請輸入郵件伺服器的主機名稱";
    alert_bad_port = "Enter a port from 1 to 65535", "請輸入 1 至 65535 的連接埠";
    alert_bad_password = "Enter the password of the user", "請輸入使用者的密碼";
    alert_plain_password = "No password is sent without encryption: leave the user blank, or choose TLS", "未加密時不會送出密碼：請將使用者留空，或選擇 TLS";
    alert_bad_quiet = "Enter two different times, or leave both blank", "請輸入兩個不同的時間，或兩者皆留空";
    alert_bad_events = "Choose at least one event", "請至少選擇一種事件";
}

labels! {
    alert_target_kind_name(AlertTargetKind) {
        Webhook = "Webhook", "Webhook";
        Slack = "Slack", "Slack";
        Discord = "Discord", "Discord";
        Telegram = "Telegram", "Telegram";
        Email = "E-mail", "電子郵件";
    }

    alert_severity(AlertSeverity) {
        Critical = "critical", "嚴重";
        Warning = "warning", "警告";
    }

    alert_phase(AlertPhase) {
        Begin = "began", "開始";
        End = "over", "解除";
        Test = "test", "測試";
    }

    delivery_state(DeliveryState) {
        Pending = "pending", "等待送出";
        Sent = "sent", "已送出";
        Failed = "failed", "失敗";
    }
}

impl Language {
    /// The same language for pages.
    pub fn of_alerts(language: AlertLanguage) -> Self {
        match language {
            AlertLanguage::English => Self::English,
            AlertLanguage::TraditionalChinese => Self::TraditionalChinese,
        }
    }

    /// The same language for messages.
    pub fn of_messages(self) -> AlertLanguage {
        match self {
            Self::English => AlertLanguage::English,
            Self::TraditionalChinese => AlertLanguage::TraditionalChinese,
        }
    }
}
