//! The dashboard, the alerts and the page about metrics: they name what a service tells that has done one of everything,
//! and nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use runwright::grpc::proto::ErrorReason;
use saphyr_parser::{Event, Parser};
use serde_json::{Map, Value};

use super::{everything::Everything, promql::Query};
use crate::support::metrics::{Page, page};

const DASHBOARD: &str = "docs/grafana/dashboard.json";
const ALERTS: &str = "docs/prometheus/alerts.yaml";
const METRICS: &str = "docs/metrics.md";

/// Labels that Prometheus gives to what it reads.
const OF_PROMETHEUS: [&str; 4] = ["job", "instance", "namespace", "pod"];
/// The values of `error_type` and `reason` beside the reasons of the contract.
const KINDS: [&str; 17] = [
    "401",
    "403",
    "session_expired",
    "http_5xx",
    "http_other",
    "connect",
    "broken",
    "timeout",
    "too_large",
    "protocol",
    "jsonrpc_error",
    "tool_error",
    "credential_source",
    "aborted",
    "idle",
    "age",
    "capacity",
];
/// The values of labels that have few.
const VALUES: [(&str, &[&str]); 7] = [
    ("fault", &["caller", "deadline", "upstream", "service"]),
    ("mode", &["unary", "streamed"]),
    (
        "outcome",
        &["ok", "error", "unknown", "refused", "aborted", "answered", "unanswered", "success", "failure"],
    ),
    ("state", &["open", "dozing"]),
    ("kind", &["credentials", "approval", "client_tool"]),
    ("gen_ai_token_type", &["input", "output"]),
    ("type", &["input", "output", "cached_input", "reasoning"]),
];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// A list or mapping of YAML that is read.
enum Open {
    List(Vec<Value>),
    Mapping(Map<String, Value>, Option<String>),
}

/// A YAML document; all its scalars are texts.
fn yaml(text: &str) -> Value {
    let mut open = vec![Open::List(Vec::new())];
    let add = |open: &mut Vec<Open>, value: Value| match open.last_mut().unwrap() {
        Open::List(items) => items.push(value),
        Open::Mapping(entries, key) => match key.take() {
            Some(key) => assert!(entries.insert(key.clone(), value).is_none(), "`{key}` comes twice"),
            None => *key = Some(value.as_str().unwrap().to_owned()),
        },
    };
    for event in Parser::new_from_str(text) {
        match event.unwrap().0 {
            Event::Scalar(text, ..) => add(&mut open, Value::String(text.into_owned())),
            Event::SequenceStart(..) => open.push(Open::List(Vec::new())),
            Event::MappingStart(..) => open.push(Open::Mapping(Map::new(), None)),
            Event::SequenceEnd | Event::MappingEnd => {
                let value = match open.pop().unwrap() {
                    Open::List(items) => Value::Array(items),
                    Open::Mapping(entries, _) => Value::Object(entries),
                };
                add(&mut open, value);
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(Open::List(mut documents)) if documents.len() == 1 => documents.remove(0),
        _ => panic!("there is one document"),
    }
}

/// Everything under a key, however deep.
fn under<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| under(key, item, found)),
        Value::Object(entries) => {
            found.extend(entries.get(key));
            entries.values().for_each(|value| under(key, value, found));
        }
        _ => {}
    }
}

/// What is wrong with a query.
fn problems(text: &str, page: &Page) -> Vec<String> {
    let query = Query::read(text);
    let mut problems = Vec::new();
    for series in &query.series {
        let labels = page.labels(&series.metric);
        if !page.samples.iter().any(|sample| sample.name == series.metric) {
            problems.push(format!("there is no `{}`: {text}", series.metric));
            continue;
        }
        for (label, operator, value) in &series.matchers {
            if !labels.contains(label.as_str()) && !OF_PROMETHEUS.contains(&label.as_str()) {
                problems.push(format!("`{}` has no `{label}`: {text}", series.metric));
            }
            let values =
                if operator.ends_with('~') { value.split('|').collect() } else { vec![value.as_str()] };
            let unknown = values.into_iter().filter(|value| !is_value(label, value));
            problems.extend(unknown.map(|value| format!("`{label}` is never `{value}`: {text}")));
        }
    }
    let of_all: BTreeSet<&str> = query.series.iter().flat_map(|series| page.labels(&series.metric)).collect();
    let unknown = query
        .grouped
        .iter()
        .filter(|label| !of_all.contains(label.as_str()) && !OF_PROMETHEUS.contains(&label.as_str()));
    problems.extend(unknown.map(|label| format!("nothing has `{label}`: {text}")));
    if query.series.is_empty() {
        problems.push(format!("it asks for nothing: {text}"));
    }
    problems
}

/// Whether a label may have a value. Variables and what ends with `.*` stand for others.
fn is_value(label: &str, value: &str) -> bool {
    let begins = value.trim_end_matches(".*").trim_end_matches(".+");
    if value.is_empty() || begins.is_empty() || value.starts_with('$') {
        return true;
    }
    let is = |known: &str| known == value || (begins.len() < value.len() && known.starts_with(begins));
    if ["error_type", "reason"].contains(&label) {
        return reasons().iter().any(|reason| is(reason)) || KINDS.into_iter().any(is);
    }
    VALUES
        .iter()
        .find(|(named, _)| *named == label)
        .is_none_or(|(_, known)| known.iter().any(|known| is(known)))
}

fn reasons() -> Vec<String> {
    let all = (1..200).filter_map(|number| ErrorReason::try_from(number).ok());
    all.map(|reason| reason.as_str_name().trim_start_matches("ERROR_REASON_").to_owned()).collect()
}

async fn everything() -> Page {
    page(&Everything::start().await.service).await
}

#[tokio::test]
async fn the_dashboard_asks_only_for_what_there_is() {
    let page = everything().await;
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let (mut queries, mut variables) = (Vec::new(), Vec::new());
    under("expr", &dashboard["panels"], &mut queries);
    assert!(queries.len() > 20);
    let wrong: Vec<String> =
        queries.iter().flat_map(|query| problems(query.as_str().unwrap(), &page)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    under("query", &dashboard["templating"], &mut variables);
    let label_values = variables.iter().filter_map(|query| query.as_str()?.strip_prefix("label_values("));
    for asked in label_values {
        let (metric, label) = asked.trim_end_matches(')').split_once(", ").unwrap();
        assert_eq!(problems(&format!("sum by ({label}) ({metric})"), &page), Vec::<String>::new());
    }
    let ids: Vec<&Value> = dashboard["panels"].as_array().unwrap().iter().map(|panel| &panel["id"]).collect();
    assert_eq!(ids.iter().map(|id| id.to_string()).collect::<BTreeSet<_>>().len(), ids.len());
}

#[tokio::test]
async fn the_alerts_ask_only_for_what_there_is_and_say_what_to_do() {
    let page = everything().await;
    let alerts = yaml(&read(ALERTS));
    let told = read(METRICS);
    let mut names = BTreeSet::new();
    for rule in
        alerts["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        let name = rule["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} comes twice");
        assert_eq!(problems(rule["expr"].as_str().unwrap(), &page), Vec::<String>::new(), "{name}");
        assert!(rule["for"].as_str().unwrap().ends_with('m'), "{name}");
        assert!(["critical", "warning"].contains(&rule["labels"]["severity"].as_str().unwrap()), "{name}");
        for key in ["summary", "description"] {
            assert!(rule["annotations"][key].as_str().unwrap().ends_with('.'), "{name}: {key}");
        }
        let anchor = name.to_lowercase();
        let runbook = rule["annotations"]["runbook"].as_str().unwrap();
        assert_eq!(runbook, format!("docs/metrics.md#{anchor}"));
        assert!(told.contains(&format!("\n### {name}\n")), "{METRICS} has nothing about {name}");
    }
    assert_eq!(told.matches("\n### Runwright").count(), names.len(), "{METRICS} is about other alerts, too");
}

#[test]
fn a_query_for_what_is_not_there_is_found() {
    let page =
        Page::read("# HELP a_total A.\n# TYPE a_total counter\na_total{mode=\"unary\"} 1\n".to_owned());
    assert_eq!(problems("rate(a_total{mode=\"unary\"}[5m])", &page), Vec::<String>::new());
    for wrong in [
        "rate(b_total[5m])",
        "a_total{agent=\"x\"}",
        "sum by (agent) (a_total)",
        "a_total{mode=\"both\"}",
        "a_total{mode=~\"unary|both\"}",
        "1",
    ] {
        assert_eq!(problems(wrong, &page).len(), 1, "{wrong}");
    }
}

/// The tables of the page about metrics: each metric's type and labels, by name.
fn told() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = read(METRICS);
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() >= 5);
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        let kind = cells.next().unwrap().to_owned();
        let labels = cells.next().unwrap().split(", ").filter(|label| !label.is_empty());
        (name, (kind, labels.map(|label| label.trim_matches('`').to_owned()).collect()))
    })
    .collect()
}

#[tokio::test]
async fn the_page_about_metrics_has_all_of_them_and_no_other() {
    let page = everything().await;
    let there = page.types.iter().map(|(name, kind)| {
        let sample = if kind == "histogram" { format!("{name}_count") } else { name.clone() };
        let labels = page.labels(&sample).into_iter().map(str::to_owned).collect();
        (name.clone(), (kind.clone(), labels))
    });
    assert_eq!(told(), there.collect::<BTreeMap<_, _>>());
}
