//! What does not fit, in words.

use std::{
    collections::HashSet,
    fmt::{self, Write},
};

use jsonschema::{ValidationError, error::ValidationErrorKind};
use serde_json::Value;

/// The most bytes of one problem.
const MAX_BYTES: usize = 200;
/// The most bytes of a value that is told with what is wrong with it.
const MAX_VALUE_BYTES: usize = 60;
/// The most bytes of where it is: the rest of a problem is what is wrong.
const MAX_PLACE_BYTES: usize = 100;
const CUT: &str = "…";

/// What is wrong, and where.
pub(super) fn told(error: &ValidationError<'_>) -> String {
    let at = error.instance_path().as_str();
    let at = if at.is_empty() { "the root".to_owned() } else { cut(MAX_PLACE_BYTES, &at) };
    cut(MAX_BYTES, &format_args!("at {at}: {}", why(error)))
}

/// Where in a value something is wrong, and by which keyword of the schema, without a word of the value: of its names those
/// in `names` may be told.
pub(super) fn place(error: &ValidationError<'_>, root: &Value, names: &HashSet<String>) -> String {
    let (mut at, mut here) = (String::new(), Some(root));
    for segment in error.instance_path().as_str().split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        // A name may be nothing but digits, too.
        let may_be_told = matches!(here, Some(Value::Array(_))) || names.contains(&name);
        at.push('/');
        at.push_str(if may_be_told { segment } else { "*" });
        here = match here {
            Some(Value::Array(values)) => name.parse().ok().and_then(|index: usize| values.get(index)),
            Some(Value::Object(object)) => object.get(&name),
            _ => None,
        };
    }
    if let ValidationErrorKind::Required { property: Value::String(lacking) } = error.kind() {
        at.push('/');
        at.push_str(&lacking.replace('~', "~0").replace('/', "~1"));
    }
    let at = if at.is_empty() { "the root".to_owned() } else { cut(MAX_PLACE_BYTES, &at.escape_debug()) };
    format!("{at} ({})", cut(MAX_PLACE_BYTES, &error.schema_path().as_str().escape_debug()))
}

/// What is wrong, without where.
pub(super) fn why(error: &ValidationError<'_>) -> String {
    let value: &Value = error.instance();
    let shown = cut(MAX_VALUE_BYTES, value);
    if shown.ends_with(CUT) {
        let name = match value {
            Value::Object(_) => "the object",
            Value::Array(_) => "the array",
            _ => "the value",
        };
        cut(MAX_BYTES, &error.masked_with(name))
    } else {
        cut(MAX_BYTES, error)
    }
}

/// That a text is no pattern.
pub(super) fn no_pattern(text: &str) -> String {
    let shown = cut(MAX_VALUE_BYTES, &text.escape_debug());
    format!("\"{shown}\" is no regular expression of ECMA-262 with its flag `u`")
}

/// What is written, up to so many bytes; what is more is not even written.
fn cut(max: usize, what: &impl fmt::Display) -> String {
    let mut kept = Kept { text: String::new(), max: max - CUT.len() };
    if write!(kept, "{what}").is_err() {
        kept.text.push_str(CUT);
    }
    kept.text
}

struct Kept {
    text: String,
    max: usize,
}

impl Write for Kept {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.max - self.text.len();
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        self.text.push_str(&more[..more.floor_char_boundary(room)]);
        // The text is full: nothing after this is written.
        self.max = self.text.len();
        Err(fmt::Error)
    }
}
