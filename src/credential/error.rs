//! Why a source has no value.

use std::fmt;

use thiserror::Error;

/// Why a source has no value. It has our own words alone: never what was answered, a token, a URL or a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{asked} {fault}")]
pub struct SourceError {
    asked: Asked,
    fault: Fault,
}

/// Who or what a token source asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The protected resource metadata of an MCP server (RFC 9728).
    ResourceMetadata,
    /// The metadata of an authorization server (RFC 8414).
    IssuerMetadata,
    /// The token endpoint of an authorization server.
    TokenEndpoint,
    /// Google's metadata server.
    GoogleMetadata,
    /// All of them together.
    Source,
}

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No request can be made.
    NoClient,
    /// There is no connection.
    Unreachable,
    /// The connection fails.
    Broken,
    /// It takes too long.
    TimedOut,
    /// A redirect.
    Redirected,
    /// Another status than success.
    Status(u16),
    /// The answer is too large.
    TooLarge,
    /// The answer is not what it should be.
    NotUnderstood,
    /// There is nothing.
    Absent,
    /// The answer is of another issuer.
    OtherIssuer,
    /// The answer is of another resource.
    OtherResource,
    /// The answer leads to where nothing may be sent.
    Insecure,
    /// There is no way for the client to show who it is.
    NoAuthentication,
    /// A refusal of RFC 6749 section 5.2 or RFC 8707 section 2, with its code.
    Refused(&'static str),
    /// The token is of another type than Bearer, or may be no header's value.
    Unusable,
    /// Nothing could be signed.
    Unsigned,
    /// Our own fault.
    Aborted,
}

impl Asked {
    /// The error of what was asked.
    pub const fn failed(self, fault: Fault) -> SourceError {
        SourceError { asked: self, fault }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ResourceMetadata => "the MCP server's protected resource metadata",
            Self::IssuerMetadata => "the authorization server's metadata",
            Self::TokenEndpoint => "the authorization server's token endpoint",
            Self::GoogleMetadata => "Google's metadata server",
            Self::Source => "the source of a token",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoClient => f.write_str("can't be asked: there is no HTTP client"),
            Self::Unreachable => f.write_str("can't be reached"),
            Self::Broken => f.write_str("broke the connection off"),
            Self::TimedOut => f.write_str("took too long"),
            Self::Redirected => f.write_str("answered with a redirect, and none is followed"),
            Self::Status(status) => write!(f, "answered with status {status}"),
            Self::TooLarge => f.write_str("answered with more than 64 KiB"),
            Self::NotUnderstood => f.write_str("gave an answer that is not understood"),
            Self::Absent => f.write_str("is nowhere to be found"),
            Self::OtherIssuer => f.write_str("is of another issuer"),
            Self::OtherResource => f.write_str("is of another resource"),
            Self::Insecure => f.write_str("leads to a URL that is not https://"),
            Self::NoAuthentication => f.write_str("takes no client secret"),
            Self::Refused(code) => write!(f, "refused the request ({code})"),
            Self::Unusable => f.write_str("gave a token that can't be sent"),
            Self::Unsigned => f.write_str("can't be asked: the private key signs nothing"),
            Self::Aborted => f.write_str("was given up"),
        }
    }
}
