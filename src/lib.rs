//! Runwright executes LLM agents over gRPC; every run carries its caller's own MCP headers, and they live for that run
//! alone.
//!
//! ```text
//! main → cli → app (the only file that names concrete types) → config · telemetry · server
//! cli → health → egress · tls                                     how a running service is, asked over gRPC
//! server → grpc         handlers, decode, encode, stream, status      tonic only here and in server's layers
//! grpc → run            state machine, driver, limits, errors         no tonic, no hyper, no rmcp
//! run → model/* · mcp/*                                               adapters never see each other
//! adapters · credential → egress · sse                                every HTTP client, bounded bodies and events
//! all → headers · message · tool · settings · event · agent · id · credential · trace   plain data
//! all → metrics                                                   what is counted, and not who gets it
//! all → schema                                                        JSON Schemas of others, and what fits them
//! all → reload                                                    how reloads went
//! all → scrub                                                         secrets out of text
//! server · egress · credential → tls · file                           certificates, and files that change
//! ```
//!
//! Where headers merge: [`headers::merge`]. Where they are sent: `mcp::backend`.

pub mod agent;
pub mod app;
pub mod cli;
pub mod config;
pub mod credential;
pub mod egress;
pub mod event;
pub mod file;
pub mod grpc;
pub mod headers;
pub mod health;
pub mod id;
pub mod mcp;
pub mod message;
pub mod metrics;
pub mod model;
pub mod reload;
pub mod run;
pub mod schema;
pub mod scrub;
pub mod server;
pub mod settings;
pub mod sse;
pub mod telemetry;
pub mod tls;
pub mod tool;
pub mod trace;
