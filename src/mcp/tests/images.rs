//! A server that gives back what it was sent, as an image.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::*;
use crate::message::{Image, ImageSource};

const SECRET: &str = "canary-5f0c1d9e77";

/// What the model is shown of an image whose Base64 the server makes of the run's token.
async fn reflected(token: &str, as_base64: impl Fn(&str) -> String + Send + Sync + 'static) -> CallOutcome {
    let server = Server::start(Era::Modern, move |seen| {
        let token = seen.headers["authorization"].to_str().unwrap().trim_start_matches("Bearer ");
        let image = json!({ "type": "image", "mimeType": "image/png", "data": as_base64(token) });
        std::future::ready(json_answer(&seen.answer(json!([image]))))
    })
    .await;
    let servers = server.registered(Duration::from_secs(60));
    call(&connect(&servers, &run_headers(token)), "work", json!({}), None).await
}

/// The same of an image whose bytes it makes of the token.
async fn reflected_bytes(as_image: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> CallOutcome {
    reflected(SECRET, move |token| STANDARD.encode(as_image(token))).await
}

fn assert_left_out(outcome: &CallOutcome) {
    assert!(outcome.images.is_empty(), "{outcome:?}");
    assert!(outcome.text.starts_with("[image image/png, "), "{outcome:?}");
}

#[tokio::test]
async fn an_image_of_which_the_secret_is_a_part_is_not_shown() {
    // At each place within Base64's groups.
    for before in ["", "1", "12"] {
        assert_left_out(&reflected_bytes(move |token| format!("{before}{token}!").into()).await);
    }
    let among_bytes = |token: &str| [&b"\x89PNG\xff\xfe"[..], token.as_bytes(), b"\xff\x00"].concat();
    assert_left_out(&reflected_bytes(among_bytes).await);
}

#[tokio::test]
async fn an_image_that_holds_the_secret_in_another_form_is_not_shown() {
    assert_left_out(&reflected_bytes(|token| STANDARD.encode(token).into()).await);
    let hex = |token: &str| token.bytes().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect();
    assert_left_out(&reflected_bytes(hex).await);
}

#[tokio::test]
async fn an_image_whose_base64_is_the_secret_is_not_shown() {
    assert_left_out(&reflected(&STANDARD.encode(SECRET), str::to_owned).await);
}

#[tokio::test]
async fn an_image_without_a_secret_is_shown_as_it_is() {
    let outcome = reflected_bytes(|token| token[..7].into()).await;
    let source = ImageSource::Base64(STANDARD.encode(&SECRET[..7]).into());
    assert_eq!(outcome.images, [Image { media_type: "image/png".into(), source }]);
    assert_eq!(outcome.text, "[image 1: image/png]");
}
