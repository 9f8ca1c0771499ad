//! A session by the rules: a setup that is looked at, turns as recordings have them, and handles to resume it.
//!
//! The forms are those of two sessions recorded by pydantic-ai (MIT; see `tests/recordings`).

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::super::call::{Call, Form, Operation};
use super::super::errors::GoogleError;
use super::super::fate::Fate;
use super::super::manner::tokens_of;
use super::super::models;
use super::super::quota::Charge;
use super::{Ended, Session};

/// What Google says of a setup that it does not take: with which code, and why.
type Refused = (u16, String);

/// What is going on in a session.
#[derive(Default)]
struct Talk {
    resumes: bool,
    /// The first function that may be called, until it was.
    function: Option<String>,
    /// All that was said counts for the next turn.
    context_tokens: u64,
    said: usize,
}

impl Session {
    /// Answers by the rules until either side ends the session.
    pub(super) async fn talk(&mut self) -> Ended {
        match self.converse().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, Ended> {
        let mut talk = Talk::default();
        let setup = self.hear().await?;
        match self.begin(&setup, &mut talk) {
            Ok(()) => self.say(&mut talk, json!({"setupComplete": {}})).await?,
            Err((code, reason)) => return Err(self.close(code, &reason).await),
        }
        loop {
            let message = self.hear().await?;
            talk.context_tokens += tokens_of(message.len());
            let Ok(said) = serde_json::from_slice::<Value>(&message.into_data()) else {
                let reason = "Request contains an invalid argument.";
                return Err(self.close(1007, reason).await);
            };
            let field = |names: [&str; 2]| names.iter().find_map(|name| said.get(name)).cloned();
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
            match talk.function.take_if(|_| is_asked || is_spoken) {
                Some(name) => {
                    let call = json!({"name": name, "args": {}, "id": format!("function-call-{}", self.google.next_serial())});
                    self.say(&mut talk, json!({"toolCall": {"functionCalls": [call]}}))
                        .await?;
                }
                None if is_asked || is_spoken || answers => self.turn(&mut talk).await?,
                None => {}
            }
        }
    }

    /// Looks at the setup as Google does: at the model before the quota.
    fn begin(&self, setup: &Message, talk: &mut Talk) -> Result<(), Refused> {
        let bytes = setup.clone().into_data();
        let said: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(setup) = said.get("setup") else {
            let reason = "setup must be the first message and only the first";
            return Err((1007, reason.to_owned()));
        };
        let name = setup["model"].as_str().unwrap_or_default();
        let short = name.trim_start_matches("models/");
        let model = models::find(short, &self.version);
        let Some(model) = model.filter(|model| model.does("bidiGenerateContent")) else {
            let reason = format!(
                "{name} is not found for API version {}, or is not supported for bidiGenerateContent. Call ListModels \
                 to see the list of available models and their supported methods.",
                self.version
            );
            return Err((1008, reason));
        };
        let call = Call {
            version: self.version.clone(),
            rest: String::new(),
            operation: Operation::Generate,
            model: Some(model.name.clone()),
            form: Form::Json,
            enum_ints: false,
        };
        if let Some(error) =
            GoogleError::of_fate(&self.fate, &call, &[&model.name], Some(&self.key))
        {
            return Err(close_of(&error));
        }
        if self.google.is_overloaded(&model.name) {
            return Err((1011, "The service is currently unavailable.".to_owned()));
        }
        talk.context_tokens = tokens_of(bytes.len());
        let charge = Charge {
            is_embedding: false,
            requests: 1,
            input_tokens: talk.context_tokens,
        };
        let now_ms = (self.google.clock)();
        let charged = self.google.charge(&self.key, &model.name, charge, now_ms);
        charged.map_err(|error| close_of(&error))?;
        let field = |names: [&str; 2]| names.iter().find_map(|name| setup.get(name));
        if let Some(resumption) = field(["sessionResumption", "session_resumption"]) {
            talk.resumes = true;
            let handle = resumption["handle"].as_str();
            if handle.is_some_and(|handle| project_of(handle) != Some(&self.key.project)) {
                let reason = "BidiGenerateContent session not found";
                return Err((1008, reason.to_owned()));
            }
        }
        let functions = ["functionDeclarations", "function_declarations"]
            .iter()
            .find_map(|name| setup["tools"][0][name][0]["name"].as_str());
        talk.function = functions.map(ToOwned::to_owned);
        Ok(())
    }

    /// One turn of the model's: a thought is not told, a text is spoken.
    async fn turn(&mut self, talk: &mut Talk) -> Result<(), Ended> {
        let audio = json!({"mimeType": "audio/pcm;rate=24000", "data": "AwAaACYAHQA0ADMAAwALACsASQDY/7j/PQA3ABMA5v8U"});
        let said = [
            json!({"outputTranscription": {"text": "Hello"}}),
            json!({"outputTranscription": {"text": " there."}}),
            json!({"modelTurn": {"parts": [{"inlineData": audio}]}}),
            json!({"generationComplete": true}),
        ];
        for content in said {
            self.say(talk, json!({"serverContent": content})).await?;
        }
        let (prompt, response) = (talk.context_tokens, 26);
        talk.context_tokens += response;
        let usage = json!({
            "promptTokenCount": prompt,
            "responseTokenCount": response,
            "totalTokenCount": prompt + response,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
            "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": response}],
        });
        let last = json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage});
        self.say(talk, last).await?;
        if talk.resumes {
            let handle = format!("fake-{}-{}", self.key.project, self.google.next_serial());
            let update = json!({"newHandle": handle, "resumable": true});
            self.say(talk, json!({"sessionResumptionUpdate": update}))
                .await?;
        }
        Ok(())
    }

    /// Says something, in a binary message as Google does, unless its fate is to break off now.
    async fn say(&mut self, talk: &mut Talk, said: Value) -> Result<(), Ended> {
        match &self.fate {
            Fate::CutStream(after) if talk.said >= *after => return Err(Ended::FakeVanished),
            Fate::StallStream(after) if talk.said >= *after => return Err(self.listen().await),
            Fate::StreamError { after, code, .. } if talk.said >= *after => {
                let (code, reason) = close_of(&GoogleError::in_stream(*code));
                return Err(self.close(code, &reason).await);
            }
            _ => {}
        }
        talk.said += 1;
        let message = Message::Binary(format!("{said:#}\n").into());
        let sent = self.socket.send(message).await;
        sent.map_err(|_| Ended::ClientVanished)
    }
}

/// The close that stands for an error: its message, and the code that public reports show.
fn close_of(error: &GoogleError) -> Refused {
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
