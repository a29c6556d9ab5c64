//! As much of PromQL as tells which series a query asks for.

use std::collections::BTreeSet;

/// What a query asks for.
#[derive(Debug, Default)]
pub struct Query {
    pub series: Vec<Series>,
    /// The labels that it groups or joins by.
    pub grouped: BTreeSet<String>,
}

/// A metric, and what its labels must be.
#[derive(Debug)]
pub struct Series {
    pub metric: String,
    /// A label, an operator and what stands in quotes.
    pub matchers: Vec<(String, String, String)>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

impl Query {
    /// Reads a query.
    pub fn read(text: &str) -> Self {
        let mut query = Self::default();
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            rest = match first {
                '"' | '\'' => literal(rest).1,
                '[' => after(rest, ']'),
                '$' => rest[1..].trim_start_matches(is_word),
                c if c.is_ascii_digit() => rest.trim_start_matches(|c| is_word(c) || c == '.'),
                c if is_word(c) => query.word(rest),
                c => &rest[c.len_utf8()..],
            };
        }
        query
    }

    fn word<'a>(&mut self, text: &'a str) -> &'a str {
        let (word, rest) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
        let rest = rest.trim_start();
        if GROUPING.contains(&word) {
            let Some(list) = rest.strip_prefix('(') else { return rest };
            let (labels, rest) = list.split_once(')').unwrap();
            let labels = labels.split(',').map(|label| label.trim().to_owned());
            self.grouped.extend(labels.filter(|label| !label.is_empty()));
            return rest;
        }
        let aggregates =
            ["by", "without"].iter().any(|by| rest.strip_prefix(by).is_some_and(|r| !r.starts_with(is_word)));
        if OPERATORS.contains(&word) || rest.starts_with('(') || aggregates {
            return rest;
        }
        let (matchers, rest) = rest.strip_prefix('{').map_or_else(|| (Vec::new(), rest), matchers);
        self.series.push(Series { metric: word.to_owned(), matchers });
        rest
    }
}

fn matchers(mut text: &str) -> (Vec<(String, String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        if let Some(rest) = text.strip_prefix('}') {
            return (found, rest);
        }
        let (label, rest) = text.split_at(text.find(|c| !is_word(c)).unwrap());
        let (operator, rest) = rest.split_at(rest.find('"').unwrap());
        assert!(["=", "!=", "=~", "!~"].contains(&operator), "{text}");
        let (value, rest) = literal(rest);
        found.push((label.to_owned(), operator.to_owned(), value));
        text = rest;
    }
}

/// A text in quotes, and what follows.
fn literal(text: &str) -> (String, &str) {
    let quote = text.chars().next().unwrap();
    let (value, rest) = text[1..].split_once(quote).unwrap();
    (value.to_owned(), rest)
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).unwrap().1
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

#[test]
fn a_query_is_read() {
    let query = Query::read(
        "sum by (agent, le) (rate(a_bucket{mode=\"unary\", x=~\"1|2\"}[$__rate_interval])) > 1.5 \
         and on(job) label_replace(b, \"c\", \"d\") unless 2 * up offset 5m",
    );
    let series: Vec<&str> = query.series.iter().map(|series| series.metric.as_str()).collect();
    assert_eq!(series, ["a_bucket", "b", "up"]);
    let text = |text: &str| text.to_owned();
    let matchers = [(text("mode"), text("="), text("unary")), (text("x"), text("=~"), text("1|2"))];
    assert_eq!(query.series[0].matchers, matchers);
    assert_eq!(query.grouped, ["agent", "job", "le"].map(text).into());
}
