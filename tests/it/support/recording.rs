//! `RecordedExchange`: a real exchange with Google, and its facts, parsed without the program's own parsers.

use std::collections::BTreeMap;
use std::path::Path;

use gemini_pool::demo::fake_gemini::replay::ReplayedResponse;
use serde::Deserialize;
use serde_json::Value;

use super::encoding::pieces;
use super::raw_http::{Headers, RawRequest};
use super::{CLIENT_KEY, RequestLog};

/// One file of `tests/recordings`, whose README states their origin.
#[derive(Debug, Deserialize)]
pub struct RecordedExchange {
    pub id: String,
    pub kinds: Vec<String>,
    pub request: RecordedRequest,
    pub response: RecordedResponse,
}

#[derive(Debug, Deserialize)]
pub struct RecordedRequest {
    pub method: String,
    pub path_and_query: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Debug, Deserialize)]
pub struct RecordedResponse {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// Tokens as in a log row: prompt, output, thoughts, cached, tool, total.
pub type Tokens = [Option<i64>; 6];

/// The exchanges that the proxy forwards unchanged, unlike those of uploads and downloads.
pub fn all() -> Vec<RecordedExchange> {
    let mut recordings = every();
    recordings.retain(|recording| {
        !recording
            .kinds
            .iter()
            .any(|kind| kind == "upload" || kind == "download")
    });
    assert!(recordings.len() > 50, "the recordings exist");
    recordings
}

fn every() -> Vec<RecordedExchange> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let files = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
    });
    paths.sort();
    let recordings = paths
        .iter()
        .map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
    recordings.collect()
}

/// The recording of this name.
pub fn named(id: &str) -> RecordedExchange {
    let mut recordings = every();
    recordings.retain(|recording| recording.id == id);
    recordings.pop().unwrap()
}

impl RecordedExchange {
    /// The recorded request with the client key as its credential, in the recorded place; sources without any trace of
    /// it get the header of Google's SDKs, or OpenAI's.
    pub fn request(&self) -> RawRequest {
        let mut headers = lower_case(&self.request.headers);
        headers.retain(|(name, _)| !["host", "content-length"].contains(&name.as_str()));
        let credential = headers
            .iter_mut()
            .find(|(name, _)| name == "x-goog-api-key");
        match credential {
            Some((_, key)) => CLIENT_KEY.clone_into(key),
            None if self.is_openai() => {
                headers.push(("authorization".to_owned(), format!("Bearer {CLIENT_KEY}")));
            }
            None => headers.push(("x-goog-api-key".to_owned(), CLIENT_KEY.to_owned())),
        }
        RawRequest {
            method: self.request.method.clone(),
            path_and_query: self.request.path_and_query.clone(),
            headers,
            body: self.request.body.clone().into(),
        }
    }

    /// The recorded response, to be sent in chunks of this many bytes.
    pub fn replayed_response(&self, piece: usize) -> ReplayedResponse {
        ReplayedResponse {
            status: self.response.status,
            headers: self.response.headers.clone(),
            chunks: pieces(self.response.body.as_bytes(), piece),
        }
    }

    /// The headers of the recorded response, names in lower case; without a length other than the body's, because the
    /// recorder had decompressed it.
    pub fn answer_headers(&self) -> Headers {
        let length = self.response.body.len().to_string();
        let mut headers = lower_case(&self.response.headers);
        headers.retain(|(name, value)| name != "content-length" || *value == length);
        headers
    }

    pub fn is_event_stream(&self) -> bool {
        let kind = ("content-type".to_owned(), "text/event-stream".to_owned());
        self.answer_headers().contains(&kind)
    }

    fn is_openai(&self) -> bool {
        self.request.path_and_query.contains("/openai/")
    }

    /// The expected values of a log row, from the recording alone: operation, model, model of the response, streamed.
    pub fn response_metadata(&self) -> (Option<String>, Option<String>, Option<String>, bool) {
        let request_body: Value = serde_json::from_str(&self.request.body).unwrap_or_default();
        let path = self.request.path_and_query.split('?').next().unwrap();
        let method = path.rsplit_once(':').map(|(_, method)| method);
        let in_path = method.map(|_| path.rsplit(['/', ':']).nth(1).unwrap());
        let in_body = || {
            request_body["model"]
                .as_str()
                .or(request_body["agent"].as_str())
        };
        let model =
            in_path.or_else(|| Some(in_body()?).filter(|_| !path.ends_with("/cachedContents")));
        let operation = method.unwrap_or_else(|| operation_of(&self.id));
        let answered = ["modelVersion", "model"].map(|field| {
            let texts = self.json_documents().into_iter();
            let mut field = texts.filter_map(|document| {
                let object = document.get("interaction").unwrap_or(&document);
                Some(object.get(field)?.as_str()?.to_owned())
            });
            field.next_back()
        });
        let [native, others] = answered;
        let of_batch = self.json_documents().into_iter().find_map(|document| {
            document["metadata"]["output"].as_object()?;
            let model = document["metadata"]["model"].as_str()?;
            Some(model.replace("models/", ""))
        });
        let native = native.or(of_batch);
        let others = others.filter(|_| method.is_none() && in_body().is_some() && model.is_some());
        let streamed = method == Some("streamGenerateContent") || request_body["stream"] == true;
        (
            Some(operation.to_owned()),
            model.map(ToOwned::to_owned),
            native.or(others),
            streamed,
        )
    }

    /// The token counts in the recording, the last ones of a stream.
    pub fn tokens(&self) -> Tokens {
        let mut tokens = [None; 6];
        for document in self.json_documents() {
            let is_cache = document["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("cachedContents/"));
            if let Some(counted) = document.get("totalTokens") {
                tokens = [None, None, None, None, None, counted.as_i64()];
            }
            // The size of a cache is no usage of the request that created it.
            if let Some(usage) = document.get("usageMetadata").filter(|_| !is_cache) {
                tokens = native_tokens(usage);
            }
            // A batch has the usage of all its responses.
            let answers = &document["response"]["inlinedResponses"]["inlinedResponses"];
            for answer in answers.as_array().into_iter().flatten() {
                let usage = native_tokens(&answer["response"]["usageMetadata"]);
                for (sum, count) in tokens.iter_mut().zip(usage) {
                    *sum = sum.map_or(count, |sum: i64| Some(sum + count.unwrap_or(0)));
                }
            }
            let object = document.get("interaction").unwrap_or(&document);
            if let Some(usage) = object.get("usage").filter(|usage| usage.is_object()) {
                tokens = if self.is_openai() {
                    openai_tokens(usage)
                } else {
                    ["input", "output", "thought", "cached", "tool_use", ""].map(|name| {
                        let name = format!("total_{name}_tokens").replace("__", "_");
                        usage[name].as_i64()
                    })
                };
            }
        }
        tokens
    }

    /// Every JSON document of the response: one, or one for each event of a stream.
    fn json_documents(&self) -> Vec<Value> {
        let body = &self.response.body;
        if self.is_event_stream() && !body.starts_with('{') {
            let data = body.lines().filter_map(|line| line.strip_prefix("data: "));
            return data
                .filter(|data| *data != "[DONE]")
                .map(|data| serde_json::from_str(data).unwrap())
                .collect();
        }
        match serde_json::from_str(body) {
            Ok(Value::Array(documents)) => documents,
            Ok(document) => vec![document],
            Err(_) => Vec::new(),
        }
    }
}

/// The tokens of a log row, for comparison with a recording's.
pub fn tokens_of(row: &RequestLog) -> Tokens {
    [
        row.prompt_tokens,
        row.output_tokens,
        row.thought_tokens,
        row.cached_tokens,
        row.tool_tokens,
        row.total_tokens,
    ]
}

fn native_tokens(usage: &Value) -> Tokens {
    [
        "promptTokenCount",
        "candidatesTokenCount",
        "thoughtsTokenCount",
        "cachedContentTokenCount",
        "toolUsePromptTokenCount",
        "totalTokenCount",
    ]
    .map(|name| usage[name].as_i64())
}

/// The part of the total that no other count contains is thoughts.
fn openai_tokens(usage: &Value) -> Tokens {
    let [prompt, output, total] =
        ["prompt_tokens", "completion_tokens", "total_tokens"].map(|name| usage[name].as_i64());
    let thoughts = total.unwrap() - prompt.unwrap() - output.unwrap();
    let thoughts = Some(thoughts).filter(|thoughts| *thoughts > 0);
    [prompt, output, thoughts, None, None, total]
}

/// The operations that the path does not contain.
fn operation_of(id: &str) -> &'static str {
    let operations = BTreeMap::from([
        ("batch-get", "batches.get"),
        ("cache-create", "cachedContents.create"),
        ("cache-delete", "cachedContents.delete"),
        ("cache-get", "cachedContents.get"),
        ("cache-patch", "cachedContents.update"),
        ("file-delete", "files.delete"),
        ("file-get", "files.get"),
        ("file-list", "files.list"),
        ("filestore-create", "fileSearchStores.create"),
        ("filestore-delete", "fileSearchStores.delete"),
        ("interactions", "interactions.create"),
        ("models-list", "models.list"),
        ("openai", "chat.completions"),
        ("veo-poll", "models.operations.get"),
    ]);
    let found = operations.iter().find(|(begin, _)| id.starts_with(*begin));
    found.unwrap_or_else(|| panic!("{id} has no operation")).1
}

fn lower_case(headers: &[(String, String)]) -> Headers {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name.to_lowercase(), value.clone()))
        .collect()
}
