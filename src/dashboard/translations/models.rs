//! Texts of the models page.

use super::translations;

translations! {
    models_page = "Models", "模型";
    models_lead(date: &str) = "Models that this pool has served, or knows a limit or price of. Prices are Google's list prices of {date}, in dollars for a million tokens of input and output.", "此金鑰池曾提供服務、或已知其上限或價格的模型。價格為 Google 於 {date} 的定價，單位為每百萬輸入／輸出 Token 的美元。";
    limits_and_prices = "Limits and prices", "上限與價格";
    models_none = "No models yet", "還沒有模型";
    models_none_text = "Models appear here once a request for them has succeeded.", "有請求成功後，其模型會顯示於此。";
    models_limit = "Daily limit per project", "每專案每日上限";
    models_price = "Price in / out", "輸入／輸出價格";
    models_no_price = "unknown", "未知";
    models_own_price = "your price", "自訂價格";
    models_own_prices = "Own prices", "自訂價格";
    models_long_prompts(tokens: &str) = "more for prompts above {tokens} tokens", "輸入超過 {tokens} Token 時較高";
}
