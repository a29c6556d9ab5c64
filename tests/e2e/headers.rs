//! Each run sends its caller's own headers, and nobody else's.

use futures_util::future::join_all;

use crate::support::{Caller, World, servers::everything, service::completed};

mod two_callers_and_then_nobody {
    against!(super::in_turn: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

mod twenty_callers_at_once {
    against!(super::at_once: everything typescript_modern typescript_handshake python_modern python_stateless python_stateful);
}

async fn in_turn(world: World) {
    let (ada, bob) = (Caller::user("ada", "ada-1"), Caller::user("bob", "bob-1"));
    let callers = [
        ada.clone(),
        bob.clone(),
        Caller::without_headers("nobody-1"),
        ada.again("ada-2"),
        bob.again("bob-2"),
    ];
    for caller in &callers {
        let response = world.service.run("answering", caller).await.unwrap();
        assert_own(&world, caller, &response.final_output);
    }
}

async fn at_once(world: World) {
    let callers: Vec<Caller> =
        (0..20).map(|n| Caller::user(&format!("user-{n}"), &format!("user-{n}-1"))).collect();
    let runs = callers.iter().enumerate().map(async |(at, caller)| {
        if at % 2 == 0 {
            world.service.run("answering", caller).await.unwrap().final_output
        } else {
            completed(&world.service.events("answering", caller).await).final_output.clone()
        }
    });
    for (caller, output) in callers.iter().zip(join_all(runs).await) {
        assert_own(&world, caller, &output);
    }
}

/// The tool saw this caller, and every request of its run carried its header and no other.
fn assert_own(world: &World, caller: &Caller, output: &str) {
    if world.server.kind != everything {
        let (user, _) = caller.request_id.rsplit_once('-').unwrap();
        assert_eq!(output, format!("It says {user}."));
    }
    let seen = world.proxy.seen_of(&caller.request_id);
    assert!(seen.iter().any(|seen| seen.method == "tools/call"), "{seen:?}");
    for request in &seen {
        assert_eq!(request.authorization, caller.authorization, "{request:?}");
    }
    // A session is used with the header that opened it.
    let everything_seen = world.proxy.seen();
    for session in seen.iter().filter_map(|seen| seen.session.as_ref()) {
        let mut of_session = everything_seen.iter().filter(|seen| seen.session.as_ref() == Some(session));
        assert!(of_session.all(|seen| seen.authorization == caller.authorization), "{everything_seen:?}");
    }
}
