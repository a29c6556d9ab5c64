//! Precedence, as a table for each pair of neighbours, and held against a plain model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LAYERS: [Layer; 4] = [Layer::Server, Layer::Agent, Layer::Run, Layer::RunServer];

/// A layer: names with values, and names to take away.
type Given = (Vec<(String, String)>, Vec<String>);

fn set(given: &Given) -> HeaderSet {
    let headers = given.0.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let (set, problems) = HeaderSet::parse(headers, given.1.iter().map(String::as_str));
    assert!(problems.is_empty(), "{problems:?}");
    set
}

/// Name, value and layer of each header, and the names taken away.
fn merged<'a>(
    layers: impl IntoIterator<Item = (Layer, &'a Given)>,
) -> (Vec<(String, String, Layer)>, Vec<String>) {
    let sets: Vec<(Layer, HeaderSet)> =
        layers.into_iter().map(|(layer, given)| (layer, set(given))).collect();
    let merged = merge(sets.iter().map(|(layer, set)| (*layer, set)));
    let text = |value: &SecretValue| String::from_utf8(value.as_bytes().to_vec()).unwrap();
    let headers = merged.headers().iter().map(|h| (h.name.as_str().to_owned(), text(&h.value), h.layer));
    let applied = merged.applied(&DigestKey::from_secret(b"key"));
    assert_eq!(merged.to_header_map().len(), applied.headers.len());
    (headers.collect(), applied.removed)
}

fn sets(name: &str, value: &str) -> Given {
    (vec![(name.to_owned(), value.to_owned())], Vec::new())
}

fn removes(name: &str) -> Given {
    (Vec::new(), vec![name.to_owned()])
}

#[test]
fn each_layer_is_above_its_neighbour() {
    let nothing = (Vec::new(), Vec::new());
    for pair in LAYERS.windows(2) {
        let [low, high] = pair else { unreachable!() };
        for (below, above, sent, removed) in [
            (&nothing, &nothing, None, false),
            (&sets("x-a", "low"), &nothing, Some(("low", low)), false),
            (&nothing, &sets("x-a", "high"), Some(("high", high)), false),
            (&sets("X-A", "low"), &sets("x-a", "high"), Some(("high", high)), false),
            (&sets("x-a", "low"), &sets("X-A", "high"), Some(("high", high)), false),
            (&sets("x-a", "same"), &sets("x-a", "same"), Some(("same", high)), false),
            (&sets("x-a", "low"), &removes("X-a"), None, true),
            (&removes("x-a"), &sets("x-a", "high"), Some(("high", high)), false),
            // What was not there is not taken away.
            (&nothing, &removes("x-a"), None, false),
            (&removes("x-a"), &removes("x-a"), None, false),
        ] {
            let (headers, gone) = merged([(*low, below), (*high, above)]);
            let expected: Vec<_> =
                sent.into_iter().map(|(value, layer)| ("x-a".to_owned(), value.to_owned(), *layer)).collect();
            assert_eq!(headers, expected, "{low:?} {below:?}, {high:?} {above:?}");
            assert_eq!(gone, if removed { vec!["x-a"] } else { vec![] }, "{below:?} {above:?}");
        }
    }
}

#[test]
fn what_was_taken_away_and_set_again_is_sent() {
    let layers = [sets("x-a", "1"), removes("x-a"), sets("x-a", "3"), (Vec::new(), Vec::new())];
    let (headers, removed) = merged(LAYERS.into_iter().zip(&layers));
    assert_eq!(headers, [("x-a".to_owned(), "3".to_owned(), Layer::Run)]);
    assert!(removed.is_empty());
}

/// A set that says of its names whether they are secret.
fn registered(headers: &[(&'static str, bool)]) -> HeaderSet {
    HeaderSet::from_checked(headers.iter().map(|&(name, secret)| Header {
        name: HeaderName::from_static(name),
        value: SecretValue::parse("registered").unwrap(),
        secret,
    }))
}

#[test]
fn a_name_that_is_secret_once_is_secret_in_every_layer_above() {
    let nothing = || registered(&[]);
    let brought = |name: &str| set(&sets(name, "brought"));
    for (server, agent, run, own, name, secret) in [
        // A credential's name is enough, whoever brings it.
        (nothing(), nothing(), brought("Authorization"), nothing(), "authorization", true),
        (nothing(), nothing(), nothing(), brought("x-session-token"), "x-session-token", true),
        (registered(&[("x-key", false)]), nothing(), nothing(), nothing(), "x-key", true),
        // Else the layer that has the value says it, or one below.
        (nothing(), nothing(), brought("x-a"), nothing(), "x-a", false),
        (registered(&[("x-a", false)]), nothing(), nothing(), nothing(), "x-a", false),
        (registered(&[("x-a", true)]), nothing(), nothing(), nothing(), "x-a", true),
        (nothing(), registered(&[("x-a", true)]), nothing(), nothing(), "x-a", true),
        (registered(&[("x-a", true)]), registered(&[("x-a", false)]), nothing(), nothing(), "x-a", true),
        (registered(&[("x-a", false)]), registered(&[("x-a", true)]), nothing(), nothing(), "x-a", true),
        (registered(&[("x-a", true)]), nothing(), brought("X-A"), nothing(), "x-a", true),
        (nothing(), registered(&[("x-a", true)]), nothing(), brought("X-A"), "x-a", true),
        // Also where it was taken away between.
        (registered(&[("x-a", true)]), nothing(), set(&removes("x-a")), brought("x-a"), "x-a", true),
        // And only that name.
        (registered(&[("x-a", true), ("x-b", false)]), nothing(), brought("x-b"), nothing(), "x-b", false),
    ] {
        let merged = merge(LAYERS.into_iter().zip([&server, &agent, &run, &own]));
        assert_eq!(merged.get(name).unwrap().secret, secret, "{name} {:?}", merged.get(name).unwrap().layer);
    }
}

/// A layer over few names, so that layers meet, each in some case; no name twice.
fn layer() -> impl Strategy<Value = Given> {
    let names = prop::collection::btree_map(0..6_usize, (any::<bool>(), any::<bool>(), "[!-~]{1,4}"), 0..6);
    names.prop_map(|names| {
        let (mut headers, mut removed) = (Vec::new(), Vec::new());
        for (number, (set, upper, value)) in names {
            let name = format!("x-{}", ["a", "b", "c", "authorization", "d-e", "f_g"][number]);
            let name = if upper { name.to_uppercase() } else { name };
            if set { headers.push((name, value)) } else { removed.push(name) }
        }
        (headers, removed)
    })
}

proptest! {
    #[test]
    fn layers_merge_as_maps_do(layers in prop::collection::vec(layer(), 4)) {
        let mut model = BTreeMap::new();
        let mut gone = BTreeSet::new();
        for (layer, (headers, removed)) in LAYERS.into_iter().zip(&layers) {
            for name in removed.iter().map(|name| name.to_lowercase()) {
                if model.remove(&name).is_some() {
                    gone.insert(name);
                }
            }
            for (name, value) in headers {
                gone.remove(&name.to_lowercase());
                model.insert(name.to_lowercase(), (value.clone(), layer));
            }
        }
        let (headers, removed) = merged(LAYERS.into_iter().zip(&layers));
        let expected: Vec<_> = model.into_iter().map(|(name, (value, layer))| (name, value, layer)).collect();
        prop_assert_eq!(headers, expected);
        prop_assert_eq!(removed, gone.into_iter().collect::<Vec<_>>());
    }
}
