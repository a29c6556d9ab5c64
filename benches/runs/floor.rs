//! The floor: the requests of a run, over one `reqwest` client, and nothing else.

use std::{
    io::{self, BufRead},
    sync::Arc,
};

use bytes::Bytes;
use futures_util::future;
use http::{HeaderMap, Method};
use memchr::memmem;
use reqwest::{Certificate, Client, Url};

use crate::{
    IN_FLIGHT, Mode, Outcome, pace,
    place::Place,
    scene::Scene,
    upstream::{self, Kind, Sent},
};

/// A request that is sent again and again.
struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// The requests of a run in their order, and how often each is made at once.
type Requests = Arc<Vec<(Request, usize)>>;

/// Does what standard input says, until it ends: `SCENE MODE COUNT`, as fast as it can, or `SCENE MODE COUNT RATE`, at
/// that rate, and says how long each took.
pub async fn obey(upstream: &Place) -> Outcome<()> {
    let authority = Certificate::from_pem(upstream.authority.as_bytes())?;
    #[allow(clippy::disallowed_methods, reason = "the floor")]
    let client = Client::builder().no_proxy().tls_certs_only([authority]).build()?;
    let seen = client.get(format!("{}/seen", upstream.plain_url())).send().await?.bytes().await?;
    let seen: Vec<Vec<Option<Sent>>> = serde_json::from_slice(&seen)?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let words: Vec<&str> = order.split(' ').collect();
        let [scene, mode, count, ref rate @ ..] = words[..] else {
            return Err("an order is too short".into());
        };
        let (number, scene) = Scene::named(scene)?;
        let requests = requests(&upstream.base_url(scene), scene, Mode::named(mode)?, &seen[number])?;
        let (client, count) = (client.clone(), count.parse()?);
        let work = move |_| one(client.clone(), requests.clone());
        match rate {
            [] => {
                pace::closed(count, IN_FLIGHT, work).await?;
                println!("done");
            }
            [rate, ..] => println!("{}", pace::open(count, rate.parse()?, work).await?.line()),
        }
    }
    Ok(())
}

fn requests(base_url: &str, scene: &Scene, mode: Mode, seen: &[Option<Sent>]) -> Outcome<Requests> {
    let requests = upstream::requests_of_a_run(mode, scene).into_iter().map(|(kind, times): (Kind, _)| {
        let sent = seen.get(kind.number()).and_then(Option::as_ref);
        let sent = sent.ok_or_else(|| format!("the upstream has not seen {kind:?} of {}", scene.name))?;
        Ok((request(base_url, sent)?, times))
    });
    Ok(Arc::new(requests.collect::<Outcome<_>>()?))
}

fn request(base_url: &str, sent: &Sent) -> Outcome<Request> {
    let headers = sent.headers.iter().map(|(name, value)| Ok((name.parse()?, value.parse()?)));
    Ok(Request {
        method: sent.method.parse()?,
        url: Url::parse(&format!("{base_url}{}", sent.path))?,
        headers: headers.collect::<Outcome<_>>()?,
        body: Bytes::from(sent.body.clone()),
    })
}

async fn one(client: Client, requests: Requests) -> Outcome<()> {
    let mut has_last_word = false;
    for (request, times) in requests.iter() {
        let answers = future::try_join_all((0..*times).map(|_| send(&client, request))).await?;
        // Whole or in events, the model's answer has the last word.
        has_last_word |= answers.iter().any(|answer| memmem::find(answer, b"word32").is_some());
    }
    if has_last_word { Ok(()) } else { Err("the floor's answer is wrong".into()) }
}

async fn send(client: &Client, request: &Request) -> Outcome<Vec<u8>> {
    let Request { method, url, headers, body } = request;
    let request = client.request(method.clone(), url.clone()).headers(headers.clone()).body(body.clone());
    let mut response = request.send().await?.error_for_status()?;
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        read.extend_from_slice(&chunk);
    }
    Ok(read)
}
