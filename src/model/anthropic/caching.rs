//! Prompt caching: what a request repeats of an earlier one costs a tenth, if the API was asked to keep it.
//!
//! Source: <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>. All models take part; a prompt that is too
//! short for its model is not kept, and costs no more than before. What is kept costs a quarter more, once in five minutes
//! at most. So two things are asked for:
//!
//! - The tools and the system prompt, which all runs of an agent have alike: a mark at the end of the system prompt.
//! - The conversation, where there are tools: the next turn repeats it. A mark for the request as a whole, which the API
//!   takes for one on the last block that can have one. Without tools nobody may come back for it.
//!
//! Only Anthropic's own API is asked. Amazon's and Google's refuse a mark for the whole request, and of others that speak
//! the API it is not known which fields they take.

use std::borrow::Cow;

use serde::Serialize;
use url::Url;

use crate::model::Request;

const OWN_HOST: &str = "api.anthropic.com";

/// Whether the server at the other end is asked to keep prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    Asked,
    Unasked,
}

/// The mark: up to here.
#[derive(Serialize)]
#[serde(tag = "type", rename = "ephemeral")]
pub(super) struct Mark {}

/// A system prompt.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum System<'a> {
    Text(Cow<'a, str>),
    Marked([Block<'a>; 1]),
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "text")]
pub(super) struct Block<'a> {
    text: Cow<'a, str>,
    cache_control: Mark,
}

impl Caching {
    /// What the server behind this URL is asked for.
    pub(super) fn at(base_url: &Url) -> Self {
        if base_url.host_str() == Some(OWN_HOST) { Self::Asked } else { Self::Unasked }
    }

    /// The mark for the request as a whole, if it is to have one.
    pub(super) fn mark(self, request: &Request<'_>) -> Option<Mark> {
        (self == Self::Asked && !request.tools.is_empty()).then_some(Mark {})
    }

    /// A system prompt, with a mark where there is to be one.
    pub(super) fn system(self, text: Cow<'_, str>) -> System<'_> {
        match self {
            Self::Asked => System::Marked([Block { text, cache_control: Mark {} }]),
            Self::Unasked => System::Text(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{
        anthropic::request::body,
        asked::{Asked, tool},
    };

    fn sent(asked: &Asked, caching: Caching) -> Value {
        serde_json::from_slice(&body("claude-opus-4-6", &asked.request(), caching, false).unwrap()).unwrap()
    }

    #[test]
    fn only_anthropics_own_api_is_asked() {
        let cases = [
            ("https://api.anthropic.com", Caching::Asked),
            ("https://API.anthropic.com/", Caching::Asked),
            ("https://api.anthropic.com.example.com", Caching::Unasked),
            ("https://litellm.example.com/api.anthropic.com", Caching::Unasked),
            ("http://127.0.0.1:4000", Caching::Unasked),
        ];
        for (base_url, expected) in cases {
            assert_eq!(Caching::at(&base_url.parse().unwrap()), expected, "{base_url}");
        }
    }

    #[test]
    fn what_is_repeated_is_marked() {
        let tools = vec![tool("crm", "t", "t", "{}")];
        let (bare, with_tools) = (Asked::saying("hi"), Asked { tools, ..Asked::saying("hi") });
        let mark = json!({"type": "ephemeral"});
        let system = json!([{"type": "text", "text": "Be brief.", "cache_control": mark}]);
        for (asked, whole) in [(&bare, Value::Null), (&with_tools, mark.clone())] {
            let body = sent(asked, Caching::Asked);
            assert_eq!((&body["system"], &body["cache_control"]), (&system, &whole));
            let body = sent(asked, Caching::Unasked);
            assert_eq!((&body["system"], &body["cache_control"]), (&json!("Be brief."), &Value::Null));
        }
        let silent = Asked { instructions: String::new(), ..with_tools };
        assert_eq!(sent(&silent, Caching::Asked).get("system"), None);
    }
}
