//! Where there are sessions, each run has its own, and deletes it before it answers.

use crate::support::{Caller, World, proxy::methods};

mod each_run_opens_and_deletes_its_own {
    against!(super::own_session: everything python_stateful);
}

async fn own_session(world: World) {
    let ada = Caller::user("ada", "first");
    let mut sessions = Vec::new();
    for request_id in ["first", "second"] {
        world.service.run("answering", &ada.again(request_id)).await.unwrap();
        // The answer is here, so the session must be gone.
        let seen = world.proxy.seen_of(request_id);
        let seen: Vec<_> = seen.into_iter().filter(|seen| seen.method != "server/discover").collect();
        let expected = ["initialize", "notifications/initialized", "tools/list", "tools/call", "DELETE"];
        assert_eq!(methods(&seen), expected);
        let session = seen[0].session.clone().expect("a session");
        assert!(seen.iter().all(|seen| seen.session.as_ref() == Some(&session)), "{seen:?}");
        assert!(seen.iter().all(|seen| matches!(seen.status, Some(200..300))), "{seen:?}");
        sessions.push(session);
    }
    assert_ne!(sessions[0], sessions[1]);
}
