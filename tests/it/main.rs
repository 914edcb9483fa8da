//! One test binary: black-box tests over the wire, and the network against its golden data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;
mod auth;
mod cli;
mod config;
mod edge;
mod golden;
mod house;
mod openapi;
mod openpi;
mod openvla;
mod operate;
mod record;
mod resnet;
mod rest;
mod scene;
mod scene_files;
mod server;
mod service;
mod shell;
mod transcripts;
