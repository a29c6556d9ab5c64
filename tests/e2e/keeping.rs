//! Where there is no session, the next run of an identity finds an open client.

use crate::support::{Caller, World, proxy::methods, servers::Way};

mod the_second_run_opens_nothing {
    against!(super::second_run: typescript_modern typescript_handshake python_modern python_stateless);
}

async fn second_run(world: World) {
    let ada = Caller::user("ada", "first");
    world.service.run("answering", &ada).await.unwrap();
    let first = world.proxy.seen_of("first");
    let opening: &[&str] = match world.server.kind.way() {
        Way::Modern => &["server/discover"],
        // The newer way is tried first.
        _ => &["server/discover", "initialize", "notifications/initialized"],
    };
    assert_eq!(methods(&first), [opening, &["tools/list", "tools/call"]].concat());

    world.service.run("answering", &ada.again("second")).await.unwrap();
    let second: &[&str] = match world.server.kind.way() {
        // `ttlMs: 0` is good for one run.
        Way::Modern => &["tools/list", "tools/call"],
        _ => &["tools/call"],
    };
    assert_eq!(methods(&world.proxy.seen_of("second")), second);
    assert_eq!(world.proxy.seen().len(), first.len() + second.len());

    // Another identity opens its own.
    world.service.run("answering", &Caller::user("bob", "third")).await.unwrap();
    let known = if world.server.kind.way() == Way::Modern { opening } else { &opening[1..] };
    assert_eq!(methods(&world.proxy.seen_of("third")), [known, &["tools/list", "tools/call"]].concat());
}
