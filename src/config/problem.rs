//! What is wrong with a configuration, and where.

use std::{fmt, path::PathBuf};

/// The longest part of a [`Problem::path`], in characters; a longer key is cut.
const MAX_KEY_CHARS: usize = 64;

/// Something that is wrong with a configuration. It names keys, and holds no value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, or the folder that has none.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The keys that lead to it, such as `agents.support.mcp_servers[0].name`; `.` for the whole document,
    /// and `--config`, which names it, where a file can't be read.
    pub path: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, message } = self;
        write!(f, "{}:{line}:{column}: {path}: {message}", file.display())
    }
}

/// The path of a key in the mapping at `path`. A key of other characters than `[A-Za-z0-9_-]` is quoted.
pub fn join_key(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let cut: String = key.chars().take(MAX_KEY_CHARS).collect();
    let dots = if cut.len() < key.len() { "…" } else { "" };
    let key = if plain { format!("{cut}{dots}") } else { format!("\"{}{dots}\"", cut.escape_debug()) };
    if path == "." { key } else { format!("{path}.{key}") }
}

/// The path of an item of the list at `path`; `index` is from 0.
pub fn join_index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_and_escaped() {
        let long = "k".repeat(65);
        let cut = format!("agents.{}…", "k".repeat(64));
        for (path, key, joined) in [
            (".", "agents", "agents"),
            ("mcp_servers", "crm-2", "mcp_servers.crm-2"),
            ("agents", "a.b", "agents.\"a.b\""),
            ("agents", "", "agents.\"\""),
            ("agents", "a\nb", "agents.\"a\\nb\""),
            ("agents", &long, &cut),
        ] {
            assert_eq!(join_key(path, key), joined);
        }
        assert_eq!(join_index("agents", 2), "agents[2]");
    }
}
