//! What stands between `{{` and `}}` in a script's text.

use crate::message::Message;

/// Puts the texts of the run's tool results in the place of `{{ results.N.text }}`. A result that there is not is empty
/// text; what is no such expression stays as it is.
pub(super) fn render(template: &str, run: &[Message]) -> String {
    let mut rendered = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        rendered.push_str(before);
        let expression =
            after.split_once("}}").and_then(|(inner, after)| Some((result_number(inner)?, after)));
        if let Some((number, after)) = expression {
            rendered.push_str(result(run, number));
            rest = after;
        } else {
            rendered.push_str("{{");
            rest = after;
        }
    }
    rendered + rest
}

fn result_number(expression: &str) -> Option<usize> {
    let number = expression.trim().strip_prefix("results.")?.strip_suffix(".text")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number.parse().unwrap_or(usize::MAX))
}

fn result(run: &[Message], number: usize) -> &str {
    let results = run.iter().flat_map(|message| match message {
        Message::Tool { results } => results.as_slice(),
        Message::User { .. } | Message::Assistant { .. } => &[],
    });
    results.map(|result| result.text.as_str()).nth(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ToolResult;

    fn results(texts: &[&str]) -> Message {
        let result = |text: &&str| ToolResult {
            call_id: "c".into(),
            text: (*text).into(),
            images: Vec::new(),
            is_error: false,
        };
        Message::Tool { results: texts.iter().map(result).collect() }
    }

    #[test]
    fn expressions_become_the_results_of_the_run() {
        let run = [results(&["zero", "{{ results.0.text }}"]), Message::user("u"), results(&["two"])];
        let cases = [
            ("You are {{ results.0.text }}.", "You are zero."),
            ("{{results.2.text}}{{  results.0.text  }}", "twozero"),
            ("{{ results.1.text }}", "{{ results.0.text }}"),
            ("a{{ results.3.text }}b", "ab"),
            ("a{{ results.99999999999999999999999.text }}b", "ab"),
            (
                "{{ other }} {{ results.x.text }} {{ results..text }}",
                "{{ other }} {{ results.x.text }} {{ results..text }}",
            ),
            ("{{ {{ results.0.text }}", "{{ zero"),
            ("{{ results.0.text", "{{ results.0.text"),
            ("", ""),
        ];
        for (template, expected) in cases {
            assert_eq!(render(template, &run), expected, "{template}");
        }
    }
}
