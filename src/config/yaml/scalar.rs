//! What a plain scalar means: YAML 1.2's core schema (section 10.3.2). `yes`, `on` and `1:30` are text.

use serde_json::Number;

use super::Kind;

/// Resolves a plain scalar without a tag. `.inf` and `.nan`, which JSON has no numbers for, stay text.
pub fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Bool(true),
        "false" | "False" | "FALSE" => Kind::Bool(false),
        _ => number(text).map_or_else(|| Kind::Text(text.to_owned()), Kind::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix).filter(|digits| !digits.starts_with('+')) {
            return u64::from_str_radix(digits, radix).ok().map(Number::from);
        }
    }
    // Rust's own numbers include `inf` and `NaN`, the schema's do not.
    if !text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b)) {
        return None;
    }
    let unsigned = text.parse().map(|n: u64| Number::from(n));
    let signed = || text.parse().map(|n: i64| Number::from(n));
    unsigned.or_else(|_| signed()).ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match resolve(text) {
            Kind::Null => "null".to_owned(),
            Kind::Bool(value) => format!("bool {value}"),
            Kind::Number(value) => format!("number {value}"),
            Kind::Text(value) => format!("text {value}"),
            Kind::List(_) | Kind::Mapping(_) => panic!("{text} is a scalar"),
        }
    }

    #[test]
    fn the_core_schema_decides() {
        for (text, meaning) in [
            ("", "null"),
            ("~", "null"),
            ("Null", "null"),
            ("nULL", "text nULL"),
            ("TRUE", "bool true"),
            ("false", "bool false"),
            ("yes", "text yes"),
            ("12", "number 12"),
            ("+12", "number 12"),
            ("-12", "number -12"),
            ("18446744073709551615", "number 18446744073709551615"),
            ("0x1F", "number 31"),
            ("0x+1F", "text 0x+1F"),
            ("0o17", "number 15"),
            ("1.5", "number 1.5"),
            ("-.5", "number -0.5"),
            ("1e3", "number 1000.0"),
            ("1e999", "text 1e999"),
            (".inf", "text .inf"),
            ("inf", "text inf"),
            ("NaN", "text NaN"),
            ("-", "text -"),
            ("1:30", "text 1:30"),
            ("127.0.0.1", "text 127.0.0.1"),
        ] {
            assert_eq!(shown(text), meaning, "{text:?}");
        }
    }
}
