//! Each form written down, the values they come from, and both held against encoders that are not ours.

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD},
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A secret with what encoders escape, and what makes the two last characters of Base64's alphabets.
const AWKWARD: &str = r#"a"b/c+d<e>f&g'h\i%j?k~l"#;

fn scrubber(values: &[&str]) -> Scrubber {
    Scrubber::new(values.iter().map(|value| value.as_bytes()))
}

fn percent_encoded(text: &str, kept: impl Fn(u8) -> bool, upper: bool) -> String {
    let encoded = text.bytes().map(|byte| match (kept(byte), upper) {
        (true, _) => char::from(byte).to_string(),
        (false, true) => format!("%{byte:02X}"),
        (false, false) => format!("%{byte:02x}"),
    });
    encoded.collect()
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As encoders do that write some characters by their codes: Go's `<>&`, .NET's these and more.
fn json_escaped_by_code(text: &str, coded: &str, upper: bool) -> String {
    let escaped = text.chars().map(|c| match (coded.contains(c), upper) {
        (true, true) => format!("\\u{:04X}", u32::from(c)),
        (true, false) => format!("\\u{:04x}", u32::from(c)),
        (false, _) => json_escaped(&c.to_string()),
    });
    escaped.collect()
}

/// All forms of a secret, less Base64's characters that hold bits of what stands beside it.
fn forms(secret: &str) -> Vec<String> {
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![secret.to_owned(), hex.to_uppercase(), hex];
    for upper in [true, false] {
        for kept in [&b""[..], b"-._~", b"-._~!*'()", b"/"] {
            let keeps = |byte: u8| !kept.is_empty() && byte.is_ascii_alphanumeric() || kept.contains(&byte);
            forms.push(percent_encoded(secret, keeps, upper));
        }
        // As HTML forms are sent: a space is a plus.
        let kept_in_forms = |byte: u8| byte.is_ascii_alphanumeric() || b"*-._".contains(&byte);
        forms.push(percent_encoded(secret, kept_in_forms, upper).replace("%20", "+"));
    }
    let mut escaped = vec![json_escaped(secret), json_escaped(secret).replace('/', "\\/")];
    for upper in [true, false] {
        escaped.push(json_escaped_by_code(secret, "<>&", upper));
        escaped.push(json_escaped_by_code(secret, "<>&'+\"`", upper));
    }
    for once in escaped {
        let twice = json_escaped(&once);
        forms.extend([
            twice.replace('/', "\\/"),
            twice,
            json_escaped_by_code(&once, "<>&'+\"`", false),
            once,
        ]);
    }
    for before in 0..3 {
        let text = format!("{}{secret}", &"xx"[..before]);
        let determined = (8 * before).div_ceil(6)..8 * text.len() / 6;
        forms.push(BASE64_STANDARD.encode(&text)[determined.clone()].to_owned());
        forms.push(BASE64_URL_SAFE.encode(&text)[determined].to_owned());
    }
    forms
}

#[test]
fn each_form_is_found_as_it_is_written() {
    let scrubber = scrubber(&[AWKWARD]);
    for form in [
        r#"a"b/c+d<e>f&g'h\i%j?k~l"#,
        "6122622f632b643c653e66266727685c69256a3f6b7e6c",
        "6122622F632B643C653E66266727685C69256A3F6B7E6C",
        "a%22b%2Fc%2Bd%3Ce%3Ef%26g%27h%5Ci%25j%3Fk~l",
        "a%22b%2fc%2bd%3ce%3ef%26g%27h%5ci%25j%3fk~l",
        "a%22b%2Fc%2Bd%3Ce%3Ef%26g'h%5Ci%25j%3Fk~l",
        "a%22b/c%2Bd%3Ce%3Ef%26g%27h%5Ci%25j%3Fk%7El",
        "%61%22%62%2F%63%2B%64%3C%65%3E%66%26%67%27%68%5C%69%25%6A%3F%6B%7E%6C",
        r#"a\"b/c+d<e>f&g'h\\i%j?k~l"#,
        r#"a\"b\/c+d<e>f&g'h\\i%j?k~l"#,
        r#"a\"b/c+d\u003ce\u003ef\u0026g'h\\i%j?k~l"#,
        r#"a\u0022b/c\u002Bd\u003Ce\u003Ef\u0026g\u0027h\\i%j?k~l"#,
        r#"a\\\"b/c+d<e>f&g'h\\\\i%j?k~l"#,
        r#"a\\\"b\\/c+d<e>f&g'h\\\\i%j?k~l"#,
        r#"a\\\"b/c+d\\u003ce\\u003ef\\u0026g'h\\\\i%j?k~l"#,
        r#"a\\u0022b/c\\u002Bd\\u003Ce\\u003Ef\\u0026g\\u0027h\\\\i%j?k~l"#,
        "YSJiL2MrZDxlPmYmZydoXGklaj9rfmw=",
        "YSJiL2MrZDxlPmYmZydoXGklaj9rfmw",
        "eGEiYi9jK2Q8ZT5mJmcnaFxpJWo/a35s",
        "eGEiYi9jK2Q8ZT5mJmcnaFxpJWo_a35s",
        "eHhhImIvYytkPGU+ZiZnJ2hcaSVqP2t+bA==",
        "eHhhImIvYytkPGU-ZiZnJ2hcaSVqP2t-bA",
    ] {
        let scrubbed = scrubber.scrub(&format!("before {form} behind")).into_owned();
        let begun = if form.starts_with("eH") {
            "eH"
        } else if form.starts_with("eG") {
            "e"
        } else {
            ""
        };
        assert_eq!(scrubbed, format!("before {begun}[redacted] behind"), "{form}");
        assert!(scrubber.finds(form), "{form}");
    }
}

#[test]
fn a_form_is_found_wherever_it_stands() {
    let scrubber = scrubber(&[AWKWARD, "Bearer 0123456789"]);
    for form in forms(AWKWARD).into_iter().chain(forms("0123456789")) {
        for (before, behind) in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 3), (0, 9)] {
            let (before, behind) = (".".repeat(before), ".".repeat(behind));
            let text = format!("{before}{form}{behind}");
            assert_eq!(scrubber.scrub(&text), format!("{before}[redacted]{behind}"), "{text}");
        }
    }
}

#[test]
fn of_longer_base64_all_goes_that_holds_a_bit_of_the_secret_and_nothing_else() {
    for secret in ["0123456789", "0123456789a", "0123456789ab"] {
        for (before, behind) in
            [("", ""), ("u", ""), ("uv", "w"), ("uvw", "xy"), ("u", "xyz"), ("uv", "wxyz1")]
        {
            let text = format!("{before}{secret}{behind}");
            let (start, end) = (8 * before.len() / 6, (8 * (before.len() + secret.len())).div_ceil(6));
            for encoded in [
                BASE64_STANDARD.encode(&text),
                BASE64_URL_SAFE.encode(&text),
                BASE64_STANDARD_NO_PAD.encode(&text),
                BASE64_URL_SAFE_NO_PAD.encode(&text),
            ] {
                let rest = if behind.is_empty() { "" } else { &encoded[end..] };
                let expected = format!("{}[redacted]{rest}", &encoded[..start]);
                assert_eq!(scrubber(&[secret]).scrub(&encoded), expected, "{text}");
            }
        }
    }
}

#[test]
fn each_part_of_a_value_that_is_secret_is_found() {
    let basic = |pair: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let unpadded = format!("basic {}", BASE64_STANDARD_NO_PAD.encode("al:open:sesame"));
    for (value, secret, other) in [
        ("sk-0123456789", &["sk-0123456789"][..], &["sk-012345678", "SK-0123456789"][..]),
        ("Bearer abc.def-123", &["abc.def-123"], &["Bearer", "abc.def-12"]),
        ("Bearer   abc.def-123", &["abc.def-123"], &[]),
        ("Bearer x", &[], &["Bearer x"]),
        ("acme corporation", &["acme corporation", "corporation"], &["acme"]),
        (
            &basic(b"alice:open sesame"),
            &["alice:open sesame", "open sesame", "YWxpY2U6b3BlbiBzZXNhbWU="],
            &["alice", "alice:", "sesame"],
        ),
        (&unpadded, &["open:sesame", "al:open:sesame"], &["sesame"]),
        (&basic(b"a:1234567"), &["a:1234567"], &["1234567"]),
        ("Basic nonsense!", &["nonsense!"], &["nonsense"]),
        (
            "sid=first-cookie; b=\"second,cookie\";c=short; third-cookie",
            &["first-cookie", "second,cookie", "sid=first-cookie; b=\"second,cookie\";c=short; third-cookie"],
            &["short", "sid=", "b="],
        ),
        ("sid=only-cookie", &["only-cookie"], &["sid="]),
        ("Token token=\"abcdefgh\", name=\"someone\"", &["abcdefgh"], &["someone", "token=", "name="]),
    ] {
        let scrubber = scrubber(&[value]);
        for secret in secret {
            assert_eq!(scrubber.scrub(&format!("<{secret}>")), "<[redacted]>", "{value}");
        }
        for other in other {
            assert!(!scrubber.finds(format!("<{other}>")), "{other} of {value}");
        }
    }
}

#[test]
fn secrets_are_found_in_what_is_no_text() {
    let scrubber = scrubber(&["canary-5f0c1d9e77"]);
    assert!(scrubber.finds(b"\x89PNG\xff\xc3canary-5f0c1d9e77\xff"));
    assert!(!scrubber.finds(b"\x89PNG\xff\xc3canary-5f0c1d9e7\xff7"));
}

#[test]
fn what_is_short_is_not_looked_for() {
    let short = scrubber(&["1234567", "a b", ""]);
    assert!(short.is_empty());
    assert!(!short.finds("1234567 a b 31323334353637"));
    let exact = scrubber(&["12345678"]);
    assert!(!exact.is_empty());
    assert!(exact.finds("12345678") && !exact.finds("1234567"));
    assert!(scrubber(&[]).is_empty() && !scrubber(&[]).finds("anything"));
}

#[test]
fn a_text_without_a_secret_is_given_back() {
    let scrubber = scrubber(&["Bearer 0123456789abcdef", AWKWARD]);
    let other_tokens = "0123456789abcdeX 30313233343536373839616263646558 ".repeat(100);
    for text in ["", "0", "Bearer", "0123456789abcde", r"a\b%20\u0022", "Grüße, 東京 😀", &other_tokens]
    {
        assert!(matches!(scrubber.scrub(text), Cow::Borrowed(same) if same == text), "{text}");
    }
}

#[test]
fn characters_beside_a_secret_stay_whole() {
    assert_eq!(scrubber(&["0123456789"]).scrub("Grüße0123456789東京"), "Grüße[redacted]東京");
    // The last byte of ¼, and the first of €.
    let password = |bytes: &[u8]| format!("Basic {}", BASE64_STANDARD.encode([b"u:", bytes].concat()));
    assert_eq!(scrubber(&[&password(b"\xbcabcdefgh")]).scrub("é¼abcdefgh€"), "é[redacted]€");
    assert_eq!(scrubber(&[&password(b"abcdefgh\xe2")]).scrub("¼abcdefgh€é"), "¼[redacted]é");
}

#[test]
fn secrets_that_meet_go_as_one() {
    let scrubber = scrubber(&["abcdefgh", "xxabcdefghyy", "ghijklmnop"]);
    for (text, scrubbed) in [
        ("-xxabcdefghyy-", "-[redacted]-"),
        ("-xxabcdefgh-", "-xx[redacted]-"),
        ("-abcdefghijklmnop-", "-[redacted]-"),
        ("-abcdefghabcdefgh-", "-[redacted]-"),
        ("-abcdefgh-ghijklmnop-", "-[redacted]-[redacted]-"),
        ("abcdefgh", "[redacted]"),
    ] {
        assert_eq!(scrubber.scrub(text), scrubbed);
    }
    // Where both stand, but for the character before it that one of them has a part of.
    let encoded = BASE64_STANDARD.encode("uzyxwvutsr1");
    let both = self::scrubber(&["zyxwvutsr1", &encoded[2..14]]);
    assert_eq!(both.scrub(&encoded), format!("{}[redacted]", &encoded[..1]));
}

#[test]
fn digits_of_an_escape_may_be_in_either_case_and_a_secret_may_not() {
    let scrubber = scrubber(&["jklm/nop"]);
    for text in ["6a6B6c6D2f6E6f70", "%6a%6B%6c%6D%2f%6E%6f%70", r"jklm\u002Fnop", r"jklm\u002fnop"] {
        assert_eq!(scrubber.scrub(text), REDACTED, "{text}");
    }
    for text in ["JKLM/nop", "jklm%2FNop", "AMTSBS9UB3A"] {
        assert!(!scrubber.finds(text), "{text}");
    }
}

#[test]
fn json_is_scrubbed_in_names_strings_and_numbers() {
    let scrubber = scrubber(&["Bearer 0123456789ab", "12345678"]);
    let mut value = json!({
        "z": ["x 0123456789ab", { "0123456789ab": 1 }, 12345678, -912345678.5, 1234567, true, null],
        "MDEyMzQ1Njc4OWFi": "y",
        "a": "unchanged",
    });
    scrubber.scrub_json(&mut value);
    let scrubbed = r#"{"z":["x [redacted]",{"[redacted]":1},"[redacted]","[redacted]",1234567,true,null],"[redacted]":"y","a":"unchanged"}"#;
    assert_eq!(value.to_string(), scrubbed);
}

#[test]
fn what_would_make_a_secret_again_goes_whole() {
    let around = scrubber(&["abcd[redacted]efgh", "12345678"]);
    assert_eq!(around.scrub("x abcd12345678efgh y"), REDACTED);
    assert_eq!(around.scrub("x abcd12345678 y"), "x abcd[redacted] y");
    // Nothing would be left of any text.
    assert!(scrubber(&["redacted", "[redacted]"]).is_empty());
}

#[test]
fn a_text_that_takes_too_long_goes_whole() {
    let scrubber = scrubber(&[&"a".repeat(16_000)]);
    let text = format!("{}b", "a".repeat(15_999));
    assert!(!scrubber.finds(&text[15_700..]));
    assert_eq!(scrubber.scrub(&text.repeat(2)), REDACTED);
    assert!(scrubber.finds(text.repeat(2)));
}

#[test]
fn each_of_many_secrets_is_found() {
    let cookies: Vec<String> =
        (0..1400_u64).map(|number| format!("{:08}", number * 7_654_321 % 99_999_989)).collect();
    let value = cookies.iter().map(|cookie| format!("a={cookie}")).collect::<Vec<_>>().join("; ");
    let scrubber = scrubber(&[&value]);
    for cookie in &cookies {
        assert_eq!(scrubber.scrub(&format!("cookie {cookie} of many")), "cookie [redacted] of many");
    }
    assert!(!scrubber.finds("99999999"));
}

/// A header's value, plain or full of what encoders escape.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{8,64}", "[A-Za-z0-9._-]{8,64}", r#"["'/<>&+=`%\\ a1]{8,24}"#]
}

/// Text, and what might be taken for a part of a form beside it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![".{0,40}", r#"[%\\u0-9a-fA-F"+/=]{0,12}"#]
}

proptest! {
    #[test]
    fn no_form_of_a_secret_is_left(
        secrets in prop::collection::vec(secret(), 1..3),
        texts in prop::collection::vec(text(), 3),
    ) {
        let scrubber = scrubber(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
        let forms: Vec<String> = secrets.iter().flat_map(|secret| forms(secret)).collect();
        for (number, form) in forms.iter().enumerate() {
            let other = &forms[number * 7 % forms.len()];
            let text = format!("{}{form}{}{other}{}", texts[0], texts[1], texts[2]);
            let scrubbed = scrubber.scrub(&text);
            prop_assert!(scrubber.finds(&text), "{}", text);
            for form in &forms {
                prop_assert!(!scrubbed.contains(form), "{} is in {} of {}", form, scrubbed, text);
            }
            prop_assert_eq!(scrubber.scrub(&scrubbed), &*scrubbed);
        }
    }

    #[test]
    fn a_text_without_any_form_is_unchanged(secret in secret(), text in ".{0,200}") {
        prop_assume!(!forms(&secret).iter().any(|form| text.contains(form)));
        prop_assert!(matches!(scrubber(&[&secret]).scrub(&text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn base64_of_a_longer_text_keeps_none_of_a_secret(secret in secret(), before in ".{0,9}", behind in ".{0,9}") {
        let text = format!("{before}{secret}{behind}");
        let scrubber = scrubber(&[&secret]);
        for encoded in [BASE64_STANDARD.encode(&text), BASE64_URL_SAFE_NO_PAD.encode(&text)] {
            let scrubbed = scrubber.scrub(&encoded);
            let (start, end) = (8 * before.len() / 6, (8 * (before.len() + secret.len())).div_ceil(6));
            prop_assert!(scrubbed.len() <= encoded.len() - (end - start) + REDACTED.len(), "{} of {}", scrubbed, encoded);
            prop_assert!(scrubbed.starts_with(&encoded[..start]));
        }
    }
}
