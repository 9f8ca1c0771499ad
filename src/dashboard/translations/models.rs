//! Texts of the models page.

use super::translations;

translations! {
    models_page = "Models", "模型";
    full_stop = ".", "。";
    models_listed(projects: &str) = "What the lists of {projects} projects name, each read once a day, the oldest", "依 {projects} 個專案的模型清單彙整，每日各讀取一次，最舊的清單讀取於";
    models_not_listed = "No project's list of models was read yet: a check of a working key reads it.", "尚未讀取任何專案的模型清單：檢查可用的金鑰時會一併讀取。";
    models_search = "Name of a model", "模型名稱";
    models_no_match(search: &str) = "No model matches “{search}”", "沒有符合「{search}」的模型";
    models_no_match_text = "The search covers the names of models.", "搜尋範圍為模型名稱。";
    models_projects = "Projects", "專案數";
    models_projects_with = "Projects that list this model", "列有此模型的專案";
    models_projects_without = "Projects that do not list it", "未列出此模型的專案";
    models_of_listed(projects: &str) = "of {projects} whose lists were read", "/ {projects} 個已讀取清單的專案";
    models_in_no_list = "No project's list names this model.", "沒有專案的清單列出此模型。";
    models_list_read = "List read", "清單讀取時間";
    models_project_of(label: &str) = "Project of {label}", "{label} 的專案";
    models_token_limits(input: &str, output: &str) = "{input} tokens in · {output} out", "輸入 {input} · 輸出 {output} Token";
    models_tokens = "Token limits", "Token 上限";
    models_methods = "Methods", "支援的方法";
    models_price_of(date: &str) = "Dollars for a million tokens of input and output; list prices are Google's of {date}.", "單位為每百萬輸入／輸出 Token 的美元；定價為 Google 於 {date} 的價格。";
    models_lead(date: &str) = "The list also has models that this pool has served, or knows a limit or price of. Prices are Google's list prices of {date}, in dollars for a million tokens of input and output.", "另含此金鑰池曾提供服務、或已知其上限或價格的模型。價格為 Google 於 {date} 的定價，單位為每百萬輸入／輸出 Token 的美元。";
    limits_and_prices = "Limits and prices", "上限與價格";
    models_none = "No models yet", "還沒有模型";
    models_none_text = "Models appear here once a request for them has succeeded.", "有請求成功後，其模型會顯示於此。";
    models_tokens_used(tokens: &str) = "{tokens} tokens", "{tokens} Token";
    models_limit = "Daily limit per project", "每專案每日上限";
    models_price = "Price in / out", "輸入／輸出價格";
    models_no_price = "unknown", "未知";
    models_own_price = "your price", "自訂價格";
    models_own_prices = "Own prices", "自訂價格";
    models_long_prompts(tokens: &str) = "more for prompts above {tokens} tokens", "輸入超過 {tokens} Token 時較高";
}
