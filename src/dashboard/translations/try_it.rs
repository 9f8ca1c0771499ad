//! Texts of the page that sends a request.

use super::translations;

translations! {
    try_it = "Try it", "試用";
    try_lead = "Sends a request through the pool as the chosen client would: its limits and scopes apply, and the request is logged and counted as its own.", "以選定的用戶端身分送出請求：適用其限制與權限範圍，並如同它的請求一樣記錄與計數。";
    try_no_client_key = "No client key to send with", "沒有可用的用戶端金鑰";
    try_no_client_key_text = "A request is sent for a client key. Create the first one, then come back.", "請求需以用戶端金鑰的身分送出。請先建立一個金鑰，再回到此頁。";
    try_request = "Request", "請求";
    try_client = "Client key", "用戶端金鑰";
    try_disabled = "disabled", "已停用";
    try_surface = "API", "API";
    try_native = "Gemini", "Gemini";
    try_openai = "OpenAI (chat completions)", "OpenAI（chat completions）";
    try_interactions = "Interactions", "Interactions";
    try_model = "Model", "模型";
    try_system = "System instruction", "系統指示";
    try_text = "Text", "文字";
    try_default_text = "Why is the sky blue? Answer in one sentence.", "天空為什麼是藍色的？請用一句話回答。";
    try_picture = "Picture", "圖片";
    try_stream = "Stream the answer", "以串流接收回應";
    try_more = "More options", "更多選項";
    try_upstream_key = "Only with the upstream key", "指定上游金鑰";
    try_upstream_key_hint = "The number of a key, as in the address of its page. Blank: the pool chooses and retries as usual.", "金鑰編號，即其頁面網址中的數字。留空則由系統照常選擇並重試。";
    try_send = "Send", "送出";
    try_stop = "Stop", "停止";
    try_bad_client = "Choose a client key", "請選擇用戶端金鑰";
    try_bad_model = "Enter a model's name: letters, digits and . - _ /", "請輸入模型名稱：英數字與 . - _ /";
    try_bad_text = "Enter a text or choose a picture", "請輸入文字或選擇圖片";
    try_bad_picture = "Choose a picture (PNG, JPEG, WebP, HEIC or GIF)", "請選擇圖片（PNG、JPEG、WebP、HEIC 或 GIF）";
    try_bad_upstream_key = "No upstream key has this number", "沒有此編號的上游金鑰";
    try_answer = "Answer", "回應";
    try_nothing_sent = "The answer appears here, with its attempts, timing, tokens and cost.", "回應會顯示在這裡，並附上各次嘗試、時間、Token 數與費用。";
    try_waiting = "Waiting for the answer …", "等待回應 …";
    try_stopped = "Stopped. The log has what had arrived.", "已停止。已收到的部分可在請求記錄中檢視。";
    try_lost = "The connection to the server was lost. The log shows what became of the request.", "與伺服器的連線中斷。請求的結果可在請求記錄中檢視。";
    try_no_text = "The answer has no text.", "回應中沒有文字。";
    try_first_byte = "Time to first byte", "首位元組延遲";
    try_duration = "Duration", "總時間";
    try_view_log = "View it in the log", "在請求記錄中檢視";
    try_no_row = "The request is not in the log.", "請求記錄中沒有此請求。";
    try_same_request = "The same request in a program", "在程式中送出相同的請求";
    try_same_request_lead = "Replace the placeholder with the client key.", "請將範例中的金鑰換成您的用戶端金鑰。";
}
