//! The meaning of the names of members, columns and variables: keys, their attributes, other services.

/// The service whose keys stand under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The name says Gemini or Google.
    Gemini,
    Unnamed,
    /// Another provider, or a part of another pool, whose keys are no upstream keys unless they have Google's form.
    Other,
    /// Clients, an admin, or another product of Google: not even a key of Google's form is an upstream key.
    Excluded,
}

/// An attribute in a table column or a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeName {
    Label,
    Project,
    Billing,
    Priority,
    Weight,
    Tags,
    /// Whether the key is in use.
    Enabled,
    /// Whether it is not.
    Disabled,
}

const GEMINI_WORDS: &[&str] = &[
    "gemini",
    "google",
    "generativelanguage",
    "googleapis",
    "generative",
    "language",
    "aistudio",
    "makersuite",
    "palm",
    "vertex",
    "vertexai",
    "gemma",
];
/// Words that do not change whose a name is.
const NEUTRAL_WORDS: &[&str] = &[
    "api", "ai", "studio", "provider", "channel", "official", "free", "paid", "pool",
];
/// Other providers.
const PROVIDER_WORDS: &[&str] = &[
    "openai",
    "anthropic",
    "claude",
    "codex",
    "deepseek",
    "groq",
    "mistral",
    "azure",
    "aws",
    "bedrock",
    "cohere",
    "moonshot",
    "kimi",
    "qwen",
    "dashscope",
    "zhipu",
    "glm",
    "grok",
    "xai",
    "openrouter",
    "siliconflow",
    "silicon",
    "ollama",
    "perplexity",
    "fireworks",
    "huggingface",
    "replicate",
    "minimax",
    "doubao",
    "hunyuan",
    "stepfun",
    "nvidia",
    "github",
    "copilot",
    "gpt",
];
/// Parts of a program that have keys of their own.
const PART_WORDS: &[&str] = &[
    "auth",
    "proxy",
    "server",
    "gateway",
    "user",
    "users",
    "login",
    "app",
    "ssh",
    "session",
    "private",
    "access",
    "encryption",
    "license",
    "signing",
    "cache",
    "primary",
    "foreign",
    "jwt",
    "public",
    "management",
];
const EXCLUDED_WORDS: &[&str] = &[
    "allowed",
    "client",
    "clients",
    "admin",
    "master",
    "firebase",
    "maps",
    "youtube",
    "recaptcha",
    "analytics",
    "translate",
    "salt",
    "webhook",
];
/// Words after the word *key* that leave it a name of keys.
const KEY_ENDINGS: &[&str] = &[
    "value", "values", "string", "list", "pool", "text", "entries", "txt", "csv", "json", "file",
];

/// The words of a name, in lower case, without numbers: `geminiApiKey2` → `gemini api key`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        let is_word = letter.is_alphanumeric() && !letter.is_numeric();
        if !is_word || (was_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if is_word {
            let word = words.last_mut().expect("there is always a word");
            word.extend(letter.to_lowercase());
        }
        was_lower = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether one of the words, or two that follow each other (`DeepSeek`), is in a list.
fn has(words: &[String], of: &[&str]) -> bool {
    words.iter().any(|word| of.contains(&word.as_str()))
        || words
            .windows(2)
            .any(|pair| of.contains(&pair.concat().as_str()))
}

/// Whose keys stand under `name`.
pub fn owner(name: &str) -> Owner {
    let words = words(name);
    if has(&words, EXCLUDED_WORDS) {
        Owner::Excluded
    } else if has(&words, GEMINI_WORDS) {
        Owner::Gemini
    } else if has(&words, PROVIDER_WORDS)
        || has(&words, PART_WORDS)
        || (words.len() > 1 && has(&words, &["secret"]))
    {
        Owner::Other
    } else {
        Owner::Unnamed
    }
}

/// Whether `name` is the name of Gemini and of nothing else, so that everything below it is Gemini's.
pub fn is_gemini_section(name: &str) -> bool {
    let words = words(name);
    has(&words, GEMINI_WORDS)
        && words.iter().all(|word| {
            let word = word.as_str();
            GEMINI_WORDS.contains(&word) || NEUTRAL_WORDS.contains(&word) || is_key_word(word)
        })
}

/// The provider that a value names, as in `provider: openai` or `model: gemini/gemini-2.5-pro`.
pub fn provider(value: &str) -> Option<Owner> {
    let words = words(value);
    if has(&words, GEMINI_WORDS) {
        return Some(Owner::Gemini);
    }
    has(&words, PROVIDER_WORDS).then_some(Owner::Other)
}

/// The provider at a base URL: `None` if `value` is no URL.
pub fn provider_at(value: &str) -> Option<Owner> {
    let (_, rest) = value.split_once("://")?;
    let host = rest.split(['/', ':', '?']).next().unwrap_or_default();
    Some(
        if host == "googleapis.com" || host.ends_with(".googleapis.com") {
            Owner::Gemini
        } else {
            Owner::Other
        },
    )
}

fn is_key_word(word: &str) -> bool {
    matches!(word, "key" | "keys" | "apikey" | "apikeys")
        || ["密钥", "密鑰", "金鑰", "秘钥", "密匙"]
            .iter()
            .any(|end| word.ends_with(end))
}

/// Whether a variable, column or member of this name contains keys.
pub fn names_keys(name: &str) -> bool {
    let words = words(name);
    let whole = ["secret", "secrets", "token", "tokens", "value", "values"];
    let tokens_of = ["allowed", "api", "gemini", "google", "client"];
    match words.as_slice() {
        // A switch or a number, such as `is_multi_key`.
        [first, ..] if ["is", "has", "use", "no", "max", "min"].contains(&first.as_str()) => false,
        [.., of, token] if token.starts_with("token") => tokens_of.contains(&of.as_str()),
        [word] if whole.contains(&word.as_str()) => true,
        [.., key, end] if is_key_word(key) && KEY_ENDINGS.contains(&end.as_str()) => true,
        [.., key] => is_key_word(key),
        [] => false,
    }
}

/// Whether `name` says nothing but that keys follow, as `api_keys`.
pub fn is_unspecific(name: &str) -> bool {
    let words = words(name);
    names_keys(name) && words.iter().all(|word| is_key_word(word) || word == "api")
}

/// Whether `name` is a name of variables: no sentence.
pub fn is_variable(name: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_inside)
}

/// Of several names of a label, the one with the lowest rank is used.
pub fn label_rank(name: &str) -> u8 {
    match name.to_lowercase().as_str() {
        "name" | "名称" | "名稱" => 1,
        "remark" | "备注" | "備註" => 2,
        _ => 0,
    }
}

impl AttributeName {
    pub fn read(name: &str) -> Option<Self> {
        let plain: String = name.chars().filter(|char| char.is_alphanumeric()).collect();
        match plain.to_lowercase().as_str() {
            "label" | "name" | "keyname" | "alias" | "title" | "displayname" | "remark"
            | "名称" | "名稱" | "标签" | "標籤" | "备注" | "備註" => Some(Self::Label),
            "project" | "projectid" | "projectnumber" | "projectname" | "项目" | "專案" => {
                Some(Self::Project)
            }
            "billing" | "tier" | "billingtier" => Some(Self::Billing),
            "priority" | "优先级" | "優先順序" => Some(Self::Priority),
            "weight" | "权重" | "權重" => Some(Self::Weight),
            "tags" | "tag" => Some(Self::Tags),
            "enabled" | "enable" | "active" | "isactive" | "isenabled" | "status" | "state"
            | "keystatus" | "状态" | "狀態" | "启用" | "啟用" => Some(Self::Enabled),
            "disabled" | "disable" | "isdisabled" | "paused" | "禁用" | "停用" => {
                Some(Self::Disabled)
            }
            _ => None,
        }
    }

    pub fn text(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Project => "project",
            Self::Billing => "billing",
            Self::Priority => "priority",
            Self::Weight => "weight",
            Self::Tags => "tags",
            Self::Enabled | Self::Disabled => "status",
        }
    }
}

/// Whether the keys under a name are not in use, as under `invalid_keys`.
pub fn names_disabled_keys(name: &str) -> bool {
    words(name)
        .iter()
        .any(|word| is_disabled_word(word) == Some(true))
}

/// Whether a word says that a key is not in use (`Some(true)`) or that it is; `None`: neither.
pub fn is_disabled_word(word: &str) -> Option<bool> {
    match word.trim().to_lowercase().as_str() {
        "disabled" | "disable" | "inactive" | "invalid" | "paused" | "off" | "false" | "no"
        | "banned" | "blocked" | "suspended" | "revoked" | "expired" | "dead" | "failed"
        | "manually_disabled" | "auto_disabled" | "0" | "2" | "3" | "禁用" | "停用" | "已禁用"
        | "已停用" | "自动禁用" | "自動禁用" | "手动禁用" | "失效" | "已失效" | "无效" | "無效"
        | "关闭" | "關閉" | "否" => Some(true),
        "enabled" | "enable" | "active" | "valid" | "on" | "true" | "yes" | "ok" | "ready"
        | "1" | "启用" | "啟用" | "已启用" | "已啟用" | "正常" | "有效" | "是" => {
            Some(false)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_are_recognized_by_their_words() {
        for name in [
            "key",
            "API_KEYS",
            "GEMINI_API_KEY_2",
            "geminiApiKey",
            "api-key",
            "gemini-api-key",
            "key_value",
            "keyString",
            "PAID_KEY",
            "api-key-entries",
            "token",
            "密钥",
            "API金鑰",
            "Gemini API Key",
        ] {
            assert!(names_keys(name), "{name}");
        }
        for name in [
            "monkey",
            "key_name",
            "keyboard",
            "AUTH_TOKEN",
            "base-url",
            "",
            "名称",
        ] {
            assert!(!names_keys(name), "{name}");
        }
    }

    #[test]
    fn names_say_whose_the_keys_are() {
        for (name, expected) in [
            ("gemini-api-key", Owner::Gemini),
            ("GOOGLE_API_KEY", Owner::Gemini),
            ("api-keys", Owner::Unnamed),
            ("secret", Owner::Unnamed),
            ("OPENAI_API_KEY", Owner::Other),
            ("secret-key", Owner::Other),
            ("openai-compatibility", Owner::Other),
            ("ALLOWED_GEMINI_KEYS", Owner::Excluded),
            ("GOOGLE_MAPS_API_KEY", Owner::Excluded),
            ("masterKey", Owner::Excluded),
        ] {
            assert_eq!(owner(name), expected, "{name}");
        }
        assert_eq!(provider("openai/gpt-4o"), Some(Owner::Other));
        assert_eq!(provider("gemini/gemini-2.5-pro"), Some(Owner::Gemini));
        assert_eq!(provider("my channel"), None);
        assert_eq!(provider("DeepSeek"), Some(Owner::Other));
        assert_eq!(
            provider_at("https://api.deepseek.com/v1"),
            Some(Owner::Other)
        );
        assert!(is_gemini_section("google-ai") && !is_gemini_section("gemini-balance"));
    }
}
