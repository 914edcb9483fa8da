//! The other end of a cable. A thread of its own enters the namespace and ends with its work, so that no thread that does
//! anything else is ever in a wrong one.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{INSIDE, link};

/// Gives the end inside its address and brings it and the loopback up.
pub(super) async fn dress(pid: i32, address: Ipv4Addr, prefix: u8) -> Result<(), String> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("cable".to_owned())
        .spawn(move || done.send(inside(pid, address, prefix)))
        .map_err(|error| format!("thread: {error}"))?;
    outcome.await.map_err(|_| "the thread ended early".to_owned())?
}

fn inside(pid: i32, address: Ipv4Addr, prefix: u8) -> Result<(), String> {
    let path = format!("/proc/{pid}/ns/net");
    let namespace = File::open(&path).map_err(|error| format!("{path}: {error}"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| format!("entering {path}: {error}"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?
        .block_on(async {
            let handle = link::open()?;
            link::dress(&handle, "lo", None, Ipv4Addr::LOCALHOST, 8).await?;
            link::dress(&handle, INSIDE, None, address, prefix).await
        })
}
