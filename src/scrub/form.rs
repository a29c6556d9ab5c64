//! The forms in which a secret may stand in a text.
//!
//! A form is a row of units: the secret's bytes, or what each six of its bits make in Base64. Encoders differ in what
//! they escape and in how they write it, so a unit has one or more spellings, and any of them will do: RFC 3986,
//! `encodeURIComponent` and HTML forms are one form here, and so are all JSON encoders. No spelling of a unit is the
//! beginning of another one, so that a text is read in one way or not at all.

use std::ops::Range;

use base64::alphabet::{STANDARD, URL_SAFE};

/// The first bytes of a secret in some form. The shortest form has eight.
pub(super) type Beginning = [u8; 6];

/// How a secret may be written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// Two digits a byte, in either case.
    Hex,
    /// Percent-encoded (RFC 3986 section 2.1), letters and digits kept, anything else kept or not.
    Percent,
    /// Percent-encoded, each byte.
    PercentEach,
    /// Escaped for JSON (RFC 8259 section 7) once or twice. The two need to be told apart for a backslash alone, of which
    /// they make 2 or 4.
    Json { backslash: u8 },
    /// Base64 (RFC 4648 sections 4 and 5), also within that of a longer text: of its characters those that the secret
    /// alone determines, which begin with this bit of it.
    Base64 { first_bit: u8 },
}

const FORMS: [Form; 9] = [
    Form::Plain,
    Form::Hex,
    Form::Percent,
    Form::PercentEach,
    Form::Json { backslash: 2 },
    Form::Json { backslash: 4 },
    // Behind 0, 1 or 2 bytes (modulo 3) of others.
    Form::Base64 { first_bit: 0 },
    Form::Base64 { first_bit: 4 },
    Form::Base64 { first_bit: 2 },
];

/// Hexadecimal, in both cases.
const DIGITS: [&[u8; 16]; 2] = [b"0123456789abcdef", b"0123456789ABCDEF"];

impl Form {
    /// The forms that a secret has, without those that are [`Form::Plain`] in its case.
    pub fn all(secret: &[u8]) -> impl Iterator<Item = Self> {
        FORMS.into_iter().filter(|form| match form {
            Self::Json { backslash: 4 } => secret.contains(&b'\\'),
            Self::Percent | Self::Json { .. } => !secret.iter().all(|byte| form.keeps(*byte)),
            Self::Plain | Self::Hex | Self::PercentEach | Self::Base64 { .. } => true,
        })
    }

    /// Gives the secret's beginning in this form: one for each way to spell it, and some of them twice.
    pub fn begin(self, secret: &[u8], give: &mut dyn FnMut(Beginning)) {
        self.begin_after(secret, 0, ([0; _], 0), give);
    }

    fn begin_after(
        self,
        secret: &[u8],
        unit: usize,
        (bytes, length): (Beginning, usize),
        give: &mut dyn FnMut(Beginning),
    ) {
        if length == bytes.len() {
            return give(bytes);
        }
        self.spell(secret, unit, |spelling| {
            let (mut bytes, end) = (bytes, bytes.len().min(length + spelling.len()));
            bytes[length..end].copy_from_slice(&spelling[..end - length]);
            self.begin_after(secret, unit + 1, (bytes, end), give);
            false
        });
    }

    /// How many bytes the secret takes where the text begins with it.
    ///
    /// # Errors
    /// It does not; after how many bytes that is seen.
    pub fn read(self, secret: &[u8], text: &[u8]) -> Result<usize, usize> {
        if self == Self::Plain {
            let same = secret.iter().zip(text).take_while(|(one, other)| one == other).count();
            return if same == secret.len() { Ok(same) } else { Err(same + 1) };
        }
        let mut read = 0;
        for unit in 0..self.units(secret) {
            let rest = &text[read..];
            let fits = match secret.get(unit) {
                // Most of what is compared: a shorter way to the same.
                Some(byte) if self.keeps(*byte) => (rest.first() == Some(byte)).then_some(1),
                _ => self.fitting(secret, unit, rest),
            };
            read += fits.ok_or(read + 1)?;
        }
        Ok(read)
    }

    /// The length of a unit's spelling with which the text begins.
    fn fitting(self, secret: &[u8], unit: usize, text: &[u8]) -> Option<usize> {
        let mut length = None;
        self.spell(secret, unit, |spelling| {
            length = text.starts_with(spelling).then_some(spelling.len());
            length.is_some()
        });
        length
    }

    /// What is to be taken out with the secret: in Base64 the characters beside it that hold some bits of it, and padding.
    pub fn extended(self, secret: &[u8], text: &[u8], span: Range<usize>) -> Range<usize> {
        let Self::Base64 { first_bit } = self else { return span };
        let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
        let Range { mut start, mut end } = span;
        if first_bit > 0 && start > 0 && is_base64(&text[start - 1]) {
            start -= 1;
        }
        if !(8 * secret.len() - usize::from(first_bit)).is_multiple_of(6)
            && text.get(end).is_some_and(is_base64)
        {
            end += 1;
        }
        end += text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
        start..end
    }

    fn units(self, secret: &[u8]) -> usize {
        match self {
            Self::Base64 { first_bit } => (8 * secret.len() - usize::from(first_bit)) / 6,
            _ => secret.len(),
        }
    }

    /// Gives a unit's spellings to `accepts` until it takes one, and says whether it did.
    fn spell(self, secret: &[u8], unit: usize, mut accepts: impl FnMut(&[u8]) -> bool) -> bool {
        if let Self::Base64 { first_bit } = self {
            let value = six_bits(secret, usize::from(first_bit) + 6 * unit);
            let spellings = [STANDARD, URL_SAFE].map(|alphabet| [alphabet.as_str().as_bytes()[value]]);
            return either(spellings, |character| accepts(character));
        }
        let byte = secret[unit];
        match self {
            _ if self.keeps(byte) => accepts(&[byte]),
            Self::Plain | Self::Base64 { .. } => false,
            Self::Hex => either(hex(byte), |digits| accepts(digits)),
            Self::Percent => {
                // What keeps a percent sign encodes nothing. In an HTML form a space is a plus.
                byte != b'%' && accepts(&[byte])
                    || byte == b' ' && accepts(b"+")
                    || either(percent_encoded(byte), |escape| accepts(escape))
            }
            Self::PercentEach => either(percent_encoded(byte), |escape| accepts(escape)),
            Self::Json { backslash } if byte == b'\\' => accepts(&b"\\\\\\\\"[..usize::from(backslash)]),
            Self::Json { .. } => json_escaped(byte, accepts),
        }
    }

    /// Whether a byte has itself for its only spelling.
    fn keeps(self, byte: u8) -> bool {
        match self {
            Self::Plain => true,
            Self::Percent => byte.is_ascii_alphanumeric(),
            // Those that an encoder in use escapes.
            Self::Json { .. } => !b"\\\"'/<>&+=`".contains(&byte),
            Self::Hex | Self::PercentEach | Self::Base64 { .. } => false,
        }
    }
}

/// Gives two spellings to `accepts`, or the one that they are.
fn either<const N: usize>([one, other]: [[u8; N]; 2], mut accepts: impl FnMut(&[u8; N]) -> bool) -> bool {
    accepts(&one) || one != other && accepts(&other)
}

fn hex(byte: u8) -> [[u8; 2]; 2] {
    DIGITS.map(|digits| [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]])
}

fn percent_encoded(byte: u8) -> [[u8; 3]; 2] {
    hex(byte).map(|[high, low]| [b'%', high, low])
}

/// A byte, or its code behind `\u`; a quote or a slash may have a backslash instead. A second escape makes one backslash
/// two, and one before the byte three.
fn json_escaped(byte: u8, mut accepts: impl FnMut(&[u8]) -> bool) -> bool {
    let most = if b"\"'/".contains(&byte) { 3 } else { 0 };
    (0..=most).any(|backslashes| {
        let mut spelling = [b'\\'; 4];
        spelling[backslashes] = byte;
        accepts(&spelling[..=backslashes])
    }) || (1..=3).any(|backslashes| {
        either(hex(byte), |[high, low]| {
            let spelling = [b'\\', b'\\', b'\\', b'u', b'0', b'0', *high, *low];
            accepts(&spelling[3 - backslashes..])
        })
    })
}

/// The six bits of the secret from one on; beyond its end, zeros.
fn six_bits(secret: &[u8], from: usize) -> usize {
    let byte = |at: usize| secret.get(at).copied().unwrap_or(0);
    let two = u16::from_be_bytes([byte(from / 8), byte(from / 8 + 1)]);
    usize::from(two >> (10 - from % 8)) & 63
}
