//! A server that says what arguments it was sent.

use super::*;

/// More digits, and more forms of a number, than 64 bits hold.
const WRITTEN: &str = r#"{"b":12345678901234567890123,"a":[1e2,-0,0.10],"s":"\u0041"}"#;

#[tokio::test]
async fn arguments_are_sent_as_they_were_written() {
    for era in ERAS {
        let server = Server::start(era, |seen| {
            let has_all = seen.text.contains(&format!("\"arguments\":{WRITTEN}"));
            let text = json!({ "type": "text", "text": if has_all { "all" } else { &seen.text } });
            std::future::ready(json_answer(&seen.answer(json!([text]))))
        })
        .await;
        let servers = server.registered(Duration::from_secs(60));
        let value = serde_json::from_str(WRITTEN).unwrap();
        let arguments = Arguments { value, written: RawValue::from_string(WRITTEN.into()).unwrap().into() };
        let connection = connect(&servers, &run_headers("token-of-alice"));
        assert_eq!(call_with(&connection, "work", arguments, None).await.text, "all", "{era:?}");
    }
}
