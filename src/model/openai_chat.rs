//! OpenAI's Chat Completions API, which vLLM, Ollama, LiteLLM and Azure speak, too.

use url::Url;

use crate::credential;

/// An endpoint and a model behind it.
#[derive(Clone)]
pub struct Config {
    /// The API's base, e.g. `https://api.openai.com/v1`; `/chat/completions` is added.
    pub base_url: Url,
    /// The provider's name for the model.
    pub model: String,
    /// The whole `Authorization` header, `Bearer ` included; `None`: none is sent.
    pub authorization: Option<credential::Source>,
}
