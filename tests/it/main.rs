//! One test binary: black-box tests over the wire, and the network against its golden data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod auth;
mod cli;
mod config;
mod crowd;
mod edge;
mod export;
mod golden;
mod house;
mod nurec;
mod nurec_golden;
mod openapi;
mod openpi;
mod openvla;
mod operate;
mod plan;
mod record;
mod render_cli;
mod resnet;
mod rest;
mod scene;
mod scene_files;
mod sensorsim;
mod server;
mod service;
mod shell;
mod simulate;
mod stub_nurec;
mod trainer;
mod transcripts;
mod world;
