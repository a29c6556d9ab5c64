//! What `/metrics` says, read strictly: what Prometheus would only warn of fails here.

use std::collections::{BTreeMap, BTreeSet};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{service::Service, soon};

/// The content type of the page.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page, read.
#[derive(Debug, Default)]
pub struct Page {
    pub text: String,
    /// Each metric's type, by its name.
    pub types: BTreeMap<String, String>,
    pub samples: Vec<Sample>,
}

/// A line of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// What the service tells now.
pub async fn page(service: &Service) -> Page {
    let (head, body) = get(service, "/metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    assert!(head.contains(&format!("content-type: {CONTENT_TYPE}\r\n")), "{head}");
    Page::read(body)
}

/// What the admin listener answers, as Prometheus asks: its head, and its body.
pub async fn get(service: &Service, path: &str) -> (String, String) {
    let mut socket = TcpStream::connect(service.admin).await.unwrap();
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the metrics", socket.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (format!("{head}\r\n"), body.to_owned())
}

/// Asks for the page until it satisfies a condition.
pub async fn page_where(service: &Service, what: &str, condition: impl Fn(&Page) -> bool) -> Page {
    soon(what, async {
        loop {
            let page = page(service).await;
            if condition(&page) {
                return page;
            }
        }
    })
    .await
}

impl Page {
    /// Reads a page.
    pub fn read(text: String) -> Self {
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut page = Self::default();
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, _) = help.split_once(' ').unwrap();
                assert!(helped.insert(name.to_owned()), "{name} comes twice");
            } else if let Some(told) = line.strip_prefix("# TYPE ") {
                let (name, kind) = told.split_once(' ').unwrap();
                assert!(is_name(name) && helped.contains(name), "{name}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                assert!(page.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes twice");
                family = name.to_owned();
            } else {
                let sample = sample(line);
                assert_eq!(page.family(&sample.name), family, "{line}");
                page.samples.push(sample);
            }
        }
        page.text = text;
        page.check_series();
        page.check_histograms();
        page
    }

    /// The value of a series, which must be there; its labels are all that it has.
    #[track_caller]
    pub fn value<const N: usize>(&self, name: &str, labels: [(&str, &str); N]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("no {name} {labels:?} in\n{}", self.text))
    }

    /// The value of a series, if it is there.
    pub fn find<const N: usize>(&self, name: &str, labels: [(&str, &str); N]) -> Option<f64> {
        let wanted: BTreeMap<_, _> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let found = self.samples.iter().find(|sample| sample.name == name && sample.labels == wanted);
        found.map(|sample| sample.value)
    }

    /// The sum of all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).sum()
    }

    /// The labels that the series of a name have.
    pub fn labels(&self, name: &str) -> BTreeSet<&str> {
        let of = self.samples.iter().filter(|sample| sample.name == name);
        of.flat_map(|sample| sample.labels.keys().map(String::as_str)).collect()
    }

    /// The metric that a series belongs to.
    fn family<'a>(&self, name: &'a str) -> &'a str {
        let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
        let histogram = |name: &&str| self.types.get(*name).is_some_and(|kind| kind == "histogram");
        parts.into_iter().find(histogram).unwrap_or(name)
    }

    fn check_series(&self) {
        let mut seen = BTreeSet::new();
        for sample in &self.samples {
            assert!(seen.insert((&sample.name, &sample.labels)), "{sample:?} comes twice");
            assert!(sample.value.is_finite(), "{sample:?}");
        }
    }

    /// Buckets rise, and the last has all.
    fn check_histograms(&self) {
        for count in self.samples.iter().filter(|sample| sample.name.ends_with("_count")) {
            let name = count.name.trim_end_matches("_count");
            if self.family(&count.name) != name {
                continue;
            }
            let buckets = self.samples.iter().filter(|sample| {
                let mut labels = sample.labels.clone();
                labels.remove("le");
                sample.name == format!("{name}_bucket") && labels == count.labels
            });
            let buckets: Vec<&Sample> = buckets.collect();
            assert!(buckets.is_sorted_by(|a, b| a.value <= b.value && bound(a) < bound(b)), "{buckets:?}");
            let last = buckets.last().unwrap();
            assert_eq!((bound(last), last.value), (f64::INFINITY, count.value));
            assert!(self.samples.iter().any(|s| s.name == format!("{name}_sum") && s.labels == count.labels));
        }
    }
}

fn bound(bucket: &Sample) -> f64 {
    bucket.labels["le"].parse().unwrap()
}

fn is_name(name: &str) -> bool {
    let is = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// A line such as `name{label="value"} 1`.
fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(key), "{line}");
            let (value, after) = quoted(after);
            assert!(labels.insert(key.to_owned(), value).is_none(), "{line}");
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ').unwrap().parse().unwrap_or_else(|_| panic!("{line}"));
    Sample { name: name.to_owned(), labels, value }
}

/// A label's value up to its quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                other => other,
            }),
            c => value.push(c),
        }
    }
    panic!("no end in {text}")
}
