//! A final answer that is to fit a JSON Schema.

use serde_json::Value;

use crate::schema::Schema;

/// Holds an answer against the schema. The answer as JSON, or what the model is told is wrong with it.
///
/// # Errors
/// The answer is no JSON, or does not fit.
pub(super) fn check(schema: &Schema, answer: &str) -> Result<String, String> {
    let json = bare(answer);
    let value: Value = serde_json::from_str(json).map_err(|error| format!("It is no JSON: {error}."))?;
    match schema.problems(&value) {
        Some(problems) if problems.is_empty() => Ok(json.to_owned()),
        Some(problems) => Err(problems.join("\n")),
        // A schema that can't be validated against was refused with the request.
        None => Err("It is too large, or nested too deep, to be held against the schema.".to_owned()),
    }
}

/// Where an answer does not fit, for its caller: nothing of the answer is in it. See [`Schema::misfits`].
pub(super) fn misfits(schema: &Schema, answer: &str) -> Vec<String> {
    match serde_json::from_str(bare(answer)) {
        Ok(value) => schema.misfits(&value),
        Err(error) => vec![format!("it is no JSON (line {}, column {})", error.line(), error.column())],
    }
}

/// What the model is asked when its answer does not fit.
pub(super) fn repair(problem: &str) -> String {
    format!(
        "Your answer does not fit the JSON Schema that it has to fit. {problem}\nAnswer again, with nothing but JSON that \
         fits."
    )
}

/// An answer without the Markdown fence that models like to put around JSON.
fn bare(answer: &str) -> &str {
    let answer = answer.trim();
    let fenced = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    let inner = fenced.and_then(|rest| rest.split_once('\n')).map(|(_language, inner)| inner.trim());
    inner.unwrap_or(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn an_answer_fits_with_or_without_a_fence() {
        let schema = r#"{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}"#;
        let schema = Schema::new(RawValue::from_string(schema.to_owned()).unwrap().into());
        for answer in [r#"{"a": 1}"#, " {\"a\": 1}\n", "```json\n{\"a\": 1}\n```", "```\n{\"a\": 1}```"] {
            assert_eq!(check(&schema, answer).as_deref(), Ok(r#"{"a": 1}"#), "{answer}");
        }
        for answer in ["", "one", r#"{"a": "1"}"#, "{}", "```json\n{}\n```", "```{\"a\": 1}```"] {
            assert!(check(&schema, answer).is_err(), "{answer}");
        }
    }
}
