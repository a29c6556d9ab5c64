//! A run's spans end with the run.

use std::sync::{Arc, Mutex};

use tracing::{Subscriber, span};
use tracing_subscriber::{
    Layer, Registry,
    filter::filter_fn,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use crate::support::{
    mcp_server::{Era, McpServer},
    run_as,
    service::{Service, whoami_config},
    soon,
};

/// The names of the spans that are open.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Open {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.0.lock().unwrap().push(attributes.metadata().name());
    }

    fn on_close(&self, id: span::Id, context: Context<'_, S>) {
        let name = context.span(&id).unwrap().name();
        let mut open = self.0.lock().unwrap();
        let at = open.iter().position(|open| *open == name).unwrap();
        open.remove(at);
    }
}

#[tokio::test]
async fn a_client_that_is_kept_keeps_no_span_of_the_run_that_opened_it() {
    let open = Open::default();
    let ours = filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("runwright"));
    let _guard = tracing::subscriber::set_default(Registry::default().with(open.clone().with_filter(ours)));
    for era in [Era::Modern, Era::Stateless, Era::Stateful] {
        let server = McpServer::start(era).await;
        let service = Service::start(&whoami_config(&server.url())).await;
        service.run(run_as("a", "alice")).await.unwrap();
        soon("the end of the run's spans", async {
            loop {
                let names = open.0.lock().unwrap().clone();
                if !names.contains(&"invoke_agent") && !names.contains(&"rpc") {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(
            service.runner.parts().servers.kept_clients(),
            usize::from(era != Era::Stateful),
            "{era:?}"
        );
    }
}
