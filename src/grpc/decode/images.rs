//! Images that a caller sends.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use url::Url;

use crate::{
    grpc::proto::{self, image::Source},
    message::{Image, ImageSource},
    run::{Violation, Violations},
};

const MAX_URL_BYTES: usize = 8 * 1024;

/// An image, if it is right; what is wrong goes to `violations`.
pub(super) fn image(field: &str, image: proto::Image, violations: &mut Violations) -> Option<Image> {
    let mut refuse = |name: &str, description: &str| {
        violations.push(Violation::field(format!("{field}.{name}"), description));
        None
    };
    match image.source {
        Some(Source::Data(data)) if data.is_empty() => refuse("data", "the image is empty"),
        Some(Source::Data(_)) if !is_known(&image.media_type) => {
            refuse("media_type", "it is image/jpeg, image/png, image/gif or image/webp")
        }
        Some(Source::Data(data)) => {
            let base64: Arc<str> = STANDARD.encode(data).into();
            Some(Image { media_type: image.media_type, source: ImageSource::Base64(base64) })
        }
        Some(Source::Url(_)) if !image.media_type.is_empty() && !is_known(&image.media_type) => {
            refuse("media_type", "it is image/jpeg, image/png, image/gif or image/webp, or left out")
        }
        Some(Source::Url(url)) if is_web(&url) => {
            Some(Image { media_type: image.media_type, source: ImageSource::Url(url) })
        }
        Some(Source::Url(_)) => refuse("url", "it is an http or https URL of at most 8 KiB"),
        None => refuse("source", "an image has `data` or a `url`"),
    }
}

/// The images that are right.
pub(super) fn images(field: &str, given: Vec<proto::Image>, violations: &mut Violations) -> Vec<Image> {
    let images = given.into_iter().enumerate();
    images.filter_map(|(at, given)| image(&format!("{field}.images[{at}]"), given, violations)).collect()
}

fn is_known(media_type: &str) -> bool {
    Image::MEDIA_TYPES.contains(&media_type)
}

fn is_web(url: &str) -> bool {
    let web = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    url.len() <= MAX_URL_BYTES && Url::parse(url).is_ok_and(web)
}
