//! A session by the rules: a setup that is looked at, turns as recordings have them, and handles to resume it.
//!
//! The forms are those of two sessions recorded by pydantic-ai (MIT; see `tests/recordings`).

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::behaviour::Behaviour;
use super::super::errors::GoogleError;
use super::super::lenient_json::{self, FieldNames};
use super::super::models;
use super::super::quota::QuotaCharge;
use super::super::request_target::{Operation, RequestTarget, ResponseFormat};
use super::super::response_shape::token_count;
use super::{LiveSession, SessionEnd};

/// What Google says of a setup that it does not take: with which code, and why.
type CloseReason = (u16, String);

/// What is going on in a session.
#[derive(Default)]
struct DialogueState {
    is_resumable: bool,
    /// The first function that may be called, until it was.
    function: Option<String>,
    /// All that was said counts for the next turn.
    context_tokens: u64,
    sent_messages: usize,
}

impl LiveSession {
    /// Answers by the rules until either side ends the session.
    pub(super) async fn run_by_rules(&mut self) -> SessionEnd {
        match self.message_loop().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn message_loop(&mut self) -> Result<std::convert::Infallible, SessionEnd> {
        let mut state = DialogueState::default();
        let setup = self.receive().await?;
        match self.check_setup(&setup, &mut state) {
            Ok(()) => self.send(&mut state, json!({"setupComplete": {}})).await?,
            Err((code, reason)) => return Err(self.close(code, &reason).await),
        }
        loop {
            let message = self.receive().await?;
            state.context_tokens += token_count(message.len());
            let Some(payload) = self.parse(&message.into_data()) else {
                let reason = "Request contains an invalid argument.";
                return Err(self.close(1007, reason).await);
            };
            let field = |names: [&str; 2]| names.iter().find_map(|name| payload.get(name)).cloned();
            let content = field(["clientContent", "client_content"]);
            let input = field(["realtimeInput", "realtime_input"]).unwrap_or_default();
            let is_asked = content.is_some_and(|content| {
                let complete = content.get("turnComplete").or(content.get("turn_complete"));
                complete == Some(&Value::Bool(true))
            });
            let is_spoken = ["text", "audioStreamEnd", "audio_stream_end", "activityEnd"]
                .iter()
                .any(|name| input.get(name).is_some());
            let answers = field(["toolResponse", "tool_response"]).is_some();
            match state.function.take_if(|_| is_asked || is_spoken) {
                Some(name) => {
                    let function_call = json!({"name": name, "args": {}, "id": format!("function-call-{}", self.state.next_serial())});
                    self.send(
                        &mut state,
                        json!({"toolCall": {"functionCalls": [function_call]}}),
                    )
                    .await?;
                }
                None if is_asked || is_spoken || answers => self.send_turn(&mut state).await?,
                None => {}
            }
        }
    }

    fn parse(&self, message: &[u8]) -> Option<Value> {
        if self.state.reads_lenient_json() {
            return lenient_json::parse(message, FieldNames::EitherCase);
        }
        serde_json::from_slice(message).ok()
    }

    /// Looks at the setup as Google does: at the model before the quota.
    fn check_setup(&self, setup: &Message, state: &mut DialogueState) -> Result<(), CloseReason> {
        let bytes = setup.clone().into_data();
        let payload = self.parse(&bytes).unwrap_or_default();
        let Some(setup) = payload.get("setup") else {
            let reason = "setup must be the first message and only the first";
            return Err((1007, reason.to_owned()));
        };
        let name = setup["model"].as_str().unwrap_or_default();
        let short = name.trim_start_matches("models/");
        let model = models::find(short, &self.version);
        let Some(model) = model.filter(|model| model.supports("bidiGenerateContent")) else {
            let reason = format!(
                "{name} is not found for API version {}, or is not supported for bidiGenerateContent. Call ListModels \
                 to see the list of available models and their supported methods.",
                self.version
            );
            return Err((1008, reason));
        };
        let request_target = RequestTarget {
            version: self.version.clone(),
            resource_path: String::new(),
            operation: Operation::Generate,
            model: Some(model.name.clone()),
            format: ResponseFormat::Json,
            enum_ints: false,
        };
        if let Some(error) = GoogleError::of_behaviour(
            &self.behaviour,
            &request_target,
            &[&model.name],
            Some(&self.key),
        ) {
            return Err(close_for_error(&error));
        }
        if self.state.is_overloaded(&model.name) {
            return Err((1011, "The service is currently unavailable.".to_owned()));
        }
        state.context_tokens = token_count(bytes.len());
        let charge = QuotaCharge {
            is_embedding: false,
            requests: 1,
            input_tokens: state.context_tokens,
        };
        let now_ms = (self.state.clock)();
        let charged = self.state.charge(&self.key, &model.name, charge, now_ms);
        charged.map_err(|error| close_for_error(&error))?;
        let field = |names: [&str; 2]| names.iter().find_map(|name| setup.get(name));
        if let Some(resumption) = field(["sessionResumption", "session_resumption"]) {
            state.is_resumable = true;
            let handle = resumption["handle"].as_str();
            if handle.is_some_and(|handle| project_of(handle) != Some(&self.key.project)) {
                let reason = "BidiGenerateContent session not found";
                return Err((1008, reason.to_owned()));
            }
        }
        let functions = ["functionDeclarations", "function_declarations"]
            .iter()
            .find_map(|name| setup["tools"][0][name][0]["name"].as_str());
        state.function = functions.map(ToOwned::to_owned);
        Ok(())
    }

    /// One turn of the model's: a thought is not told, a text is spoken.
    async fn send_turn(&mut self, state: &mut DialogueState) -> Result<(), SessionEnd> {
        let audio = json!({"mimeType": "audio/pcm;rate=24000", "data": "AwAaACYAHQA0ADMAAwALACsASQDY/7j/PQA3ABMA5v8U"});
        let payload = [
            json!({"outputTranscription": {"text": "Hello"}}),
            json!({"outputTranscription": {"text": " there."}}),
            json!({"modelTurn": {"parts": [{"inlineData": audio}]}}),
            json!({"generationComplete": true}),
        ];
        for content in payload {
            self.send(state, json!({"serverContent": content})).await?;
        }
        let (prompt, response) = (state.context_tokens, 26);
        state.context_tokens += response;
        let usage = json!({
            "promptTokenCount": prompt,
            "responseTokenCount": response,
            "totalTokenCount": prompt + response,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": response}],
        });
        let last = json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage});
        self.send(state, last).await?;
        if state.is_resumable {
            let handle = format!("fake-{}-{}", self.key.project, self.state.next_serial());
            let update = json!({"newHandle": handle, "resumable": true});
            self.send(state, json!({"sessionResumptionUpdate": update}))
                .await?;
        }
        Ok(())
    }

    /// Says something, in a binary message as Google does, unless its behaviour is to break off now.
    async fn send(&mut self, state: &mut DialogueState, payload: Value) -> Result<(), SessionEnd> {
        match &self.behaviour {
            Behaviour::AbortStream(after) if state.sent_messages >= *after => {
                return Err(SessionEnd::FakeDropped);
            }
            Behaviour::StallStream(after) if state.sent_messages >= *after => {
                return Err(self.receive_until_end().await);
            }
            Behaviour::StreamError { after, code, .. } if state.sent_messages >= *after => {
                let (code, reason) = close_for_error(&GoogleError::in_stream(*code));
                return Err(self.close(code, &reason).await);
            }
            _ => {}
        }
        state.sent_messages += 1;
        let message = Message::Binary(format!("{payload:#}\n").into());
        let sent = self.socket.send(message).await;
        sent.map_err(|_| SessionEnd::ClientDropped)
    }
}

/// The close that stands for an error: its message, and the code that public reports show.
fn close_for_error(error: &GoogleError) -> CloseReason {
    let body: Value = serde_json::from_str(&error.body).unwrap_or_default();
    let message = body["error"]["message"].as_str().unwrap_or_default();
    let code = match error.status {
        400 => 1007,
        401..=404 => 1008,
        _ => 1011,
    };
    (code, message.to_owned())
}

/// Whose session a handle is of.
fn project_of(handle: &str) -> Option<&str> {
    Some(handle.strip_prefix("fake-")?.rsplit_once('-')?.0)
}
