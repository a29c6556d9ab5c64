//! What each model takes, where models differ and the API refuses what one does not take.
//!
//! Sources: <https://platform.claude.com/docs/en/build-with-claude/thinking>, …`/effort`, …`/structured-outputs`, the table
//! of <https://platform.claude.com/docs/en/about-claude/models/overview> ("Max output") and the models' migration guides. A model that is not known here is taken for one of the newer ones.

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Takes {
    /// How it is asked to think.
    pub thinking: Thinking,
    /// Whether it thinks where nothing is said of it.
    pub thinks_unasked: bool,
    /// Up to which level it takes an effort.
    pub effort: Effort,
    /// Whether it takes a temperature and a `top_p`.
    pub sampling: bool,
    /// Whether it can be held to a schema.
    pub formats: bool,
    /// How long an answer may be that nobody limits, in tokens. The API requires a limit, and refuses one that is over the
    /// model's own.
    pub max_tokens: u32,
}

/// How a model is asked to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// It can't.
    Never,
    /// With a budget of tokens.
    Budget,
    /// With leave to decide for itself; its effort says how much.
    Adaptive(Off),
}

/// How thinking is turned off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Off {
    /// By `disabled`.
    Disabled,
    /// By `between_tools`, the least that the model does.
    BetweenTools,
    /// It can't be; a low effort comes nearest.
    Never,
}

/// Up to which level a model takes an effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// It takes none.
    None,
    /// Up to `high`.
    High,
    /// Up to `max`.
    Max,
}

const OLDEST: Takes = Takes {
    thinking: Thinking::Never,
    thinks_unasked: false,
    effort: Effort::None,
    sampling: true,
    formats: false,
    max_tokens: 4096,
};
const CLAUDE_3_5: Takes = Takes { max_tokens: 8192, ..OLDEST };
/// Opus 4 and 4.1 take no more than 32,000 tokens; all others from 3.7 on take 64,000 or 128,000, which few answers need.
const CLAUDE_4: Takes = Takes { thinking: Thinking::Budget, max_tokens: 32_000, ..OLDEST };
const CLAUDE_4_5: Takes = Takes { formats: true, ..CLAUDE_4 };
const OPUS_4_5: Takes = Takes { effort: Effort::High, ..CLAUDE_4_5 };
const CLAUDE_4_6: Takes =
    Takes { thinking: Thinking::Adaptive(Off::Disabled), effort: Effort::Max, ..CLAUDE_4_5 };
const CLAUDE_4_7: Takes = Takes { sampling: false, ..CLAUDE_4_6 };
const CLAUDE_5: Takes = Takes { thinks_unasked: true, ..CLAUDE_4_7 };
const SONNET_5_5: Takes = Takes { thinking: Thinking::Adaptive(Off::BetweenTools), ..CLAUDE_5 };
const ALWAYS_THINKING: Takes = Takes { thinking: Thinking::Adaptive(Off::Never), ..CLAUDE_5 };
/// What is not known gets what it is asked for, and may refuse it.
const UNKNOWN: Takes = Takes { thinks_unasked: true, ..CLAUDE_4_6 };

/// A part of a model's name, with `-` for `.`, and what such a model takes. The first that fits counts.
const KNOWN: [(&str, Takes); 21] = [
    ("fable", ALWAYS_THINKING),
    ("mythos", ALWAYS_THINKING),
    ("opus-5-5", ALWAYS_THINKING),
    ("sonnet-5-5", SONNET_5_5),
    ("haiku-5", CLAUDE_5),
    ("opus-5", CLAUDE_5),
    ("sonnet-5", CLAUDE_5),
    ("opus-4-8", CLAUDE_4_7),
    ("opus-4-7", CLAUDE_4_7),
    ("opus-4-6", CLAUDE_4_6),
    ("sonnet-4-6", CLAUDE_4_6),
    ("opus-4-5", OPUS_4_5),
    ("sonnet-4-5", CLAUDE_4_5),
    ("haiku-4-5", CLAUDE_4_5),
    ("opus-4", CLAUDE_4),
    ("sonnet-4", CLAUDE_4),
    ("claude-3-7", CLAUDE_4),
    ("claude-3-5", CLAUDE_3_5),
    ("claude-3", OLDEST),
    ("claude-2", OLDEST),
    ("claude-instant", OLDEST),
];

/// What the model of this name takes. Clouds and gateways write names in their own ways, such as
/// `us.anthropic.claude-opus-4-6-v1` or `anthropic/claude-opus-4.6`.
pub(super) fn takes(model: &str) -> Takes {
    let name = model.to_ascii_lowercase().replace('.', "-");
    KNOWN.iter().find(|(part, _)| name.contains(part)).map_or(UNKNOWN, |(_, takes)| *takes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_known_by_many_names() {
        let cases = [
            ("claude-opus-5-5", ALWAYS_THINKING),
            ("anthropic/claude-opus-5.5", ALWAYS_THINKING),
            ("claude-fable-5-1", ALWAYS_THINKING),
            ("claude-mythos-preview", ALWAYS_THINKING),
            ("claude-sonnet-5-5@20260928", SONNET_5_5),
            ("claude-opus-5", CLAUDE_5),
            ("claude-sonnet-5", CLAUDE_5),
            ("us.anthropic.claude-haiku-5-5", CLAUDE_5),
            ("claude-opus-4-8", CLAUDE_4_7),
            ("us.anthropic.claude-opus-4-6-v1", CLAUDE_4_6),
            ("Claude-Sonnet-4.6", CLAUDE_4_6),
            ("claude-opus-4-5-20251101", OPUS_4_5),
            ("claude-haiku-4-5", CLAUDE_4_5),
            ("claude-opus-4-1-20250805", CLAUDE_4),
            ("claude-sonnet-4-20250514", CLAUDE_4),
            ("claude-3-7-sonnet-latest", CLAUDE_4),
            ("claude-3-5-haiku-20241022", CLAUDE_3_5),
            ("anthropic/claude-3.5-sonnet", CLAUDE_3_5),
            ("anthropic.claude-3-haiku-20240307-v1:0", OLDEST),
            ("claude-3-opus-latest", OLDEST),
            ("claude-2.1", OLDEST),
            ("production", UNKNOWN),
        ];
        for (model, expected) in cases {
            assert_eq!(takes(model), expected, "{model}");
        }
    }
}
