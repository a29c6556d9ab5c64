//! The floor: the three requests of a run, over one `reqwest` client, and nothing else.

use std::{
    io::{self, BufRead},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::HeaderMap;
use reqwest::{Client, Url};
use tokio::task::JoinSet;

use crate::{
    IN_FLIGHT, Mode, Outcome,
    upstream::{self, Sent},
};

/// A request that is sent again and again.
struct Request {
    url: Url,
    headers: HeaderMap,
    body: Bytes,
}

/// Does what standard input says, `unary COUNT` or `streamed COUNT`, until it ends.
pub async fn obey(base_url: &str) -> Outcome<()> {
    #[allow(clippy::disallowed_methods, reason = "the floor")]
    let client = Client::builder().no_proxy().build()?;
    let seen = client.get(format!("{base_url}/seen")).send().await?.bytes().await?;
    let seen: Vec<Option<Sent>> = serde_json::from_slice(&seen)?;
    for order in io::stdin().lock().lines() {
        let order = order?;
        let (mode, count) = order.split_once(' ').ok_or("an order has two words")?;
        let mode = Mode::named(mode)?;
        let requests = upstream::requests_of_a_run(mode)
            .map(|kind| seen.get(kind).cloned().flatten().ok_or("the upstream has not seen all requests"));
        let requests =
            requests.into_iter().map(|sent| request(base_url, &sent?)).collect::<Outcome<Vec<_>>>()?;
        all(&client, Arc::new(requests), count.parse()?).await?;
        println!("done");
    }
    Ok(())
}

fn request(base_url: &str, sent: &Sent) -> Outcome<Request> {
    let headers = sent.headers.iter().map(|(name, value)| Ok((name.parse()?, value.parse()?)));
    Ok(Request {
        url: Url::parse(&format!("{base_url}{}", sent.path))?,
        headers: headers.collect::<Outcome<_>>()?,
        body: Bytes::from(sent.body.clone()),
    })
}

async fn all(client: &Client, requests: Arc<Vec<Request>>, count: usize) -> Outcome<()> {
    let begun = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, requests, begun) = (client.clone(), requests.clone(), begun.clone());
        workers.spawn(async move {
            while begun.fetch_add(1, Ordering::Relaxed) < count {
                one(&client, &requests).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(ended) = workers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn one(client: &Client, requests: &[Request]) -> Outcome<()> {
    let mut last = Vec::new();
    for Request { url, headers, body } in requests {
        let post = client.post(url.clone()).headers(headers.clone()).body(body.clone());
        let mut response = post.send().await?.error_for_status()?;
        last.clear();
        while let Some(chunk) = response.chunk().await? {
            last.extend_from_slice(&chunk);
        }
    }
    // Whole or in events, the answer has the last word.
    let right = last.windows(6).any(|window| window == b"word32");
    if right { Ok(()) } else { Err("the floor's answer is wrong".into()) }
}
