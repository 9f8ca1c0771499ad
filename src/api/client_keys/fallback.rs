//! The fallback models of client keys in bodies.

use crate::api::input::Patch;
use crate::api::problem::Problem;
use crate::pool::model_fallback::ModelFallback;

/// The chains that a member names; `None`: it is missing.
pub fn fallback(member: Patch<String>) -> Result<Option<Option<ModelFallback>>, Problem> {
    match member {
        Patch::Missing => Ok(None),
        Patch::Null => Ok(Some(None)),
        Patch::Value(text) => {
            let chains = ModelFallback::parse(&text);
            let wrong = "model_fallback must have chains of models such as \"gemini-2.5-pro > gemini-2.5-flash\", separated by commas";
            let chains = chains.ok_or_else(|| Problem::invalid(wrong))?;
            Ok(Some(Some(chains)))
        }
    }
}
