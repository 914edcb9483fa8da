//! Network devices by rtnetlink.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::INSIDE;

const NO_SUCH_DEVICE: i32 = -19;
const ALREADY_THERE: i32 = -17;

/// A connection to the kernel, in the network namespace of the calling thread. It ends with the handle.
pub(super) fn open() -> Result<Handle, String> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| format!("netlink: {error}"))?;
    tokio::spawn(connection);
    Ok(handle)
}

/// A veth pair whose other end comes into being in the network namespace of a process.
pub(super) async fn pair(handle: &Handle, name: &str, pid: u32) -> Result<(), String> {
    let inside = LinkUnspec::new_with_name(INSIDE).setns_by_pid(pid).build();
    let pair = LinkVeth::new(name, INSIDE).set_info_data(InfoData::Veth(InfoVeth::Peer(inside))).build();
    handle.link().add(pair).execute().await.map_err(|error| format!("veth: {error}"))
}

/// Alias, address, up.
pub(super) async fn dress(
    handle: &Handle,
    name: &str,
    alias: Option<&str>,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), String> {
    let index = index(handle, name).await?.ok_or("no such device")?;
    let mut change = LinkMessageBuilder::<LinkUnspec>::new().index(index).up();
    if let Some(alias) = alias {
        change = change.append_extra_attribute(LinkAttribute::IfAlias(alias.to_owned()));
    }
    match handle.address().add(index, IpAddr::V4(address), prefix).execute().await {
        Err(error) if code(&error) != Some(ALREADY_THERE) => {
            Err(format!("address {address}/{prefix}: {error}"))
        }
        _ => Ok(()),
    }?;
    handle.link().change(change.build()).execute().await.map_err(|error| format!("alias and up: {error}"))
}

/// Shuts the host's end before it is up. Nothing that comes out of it is sent on, whatever the machine forwards between its
/// other networks, and nothing is taken whose sender is not at its other end. It has no IPv6: no packet of its own that nobody
/// asked for, and no address by which the other end could reach what listens on all of them. A kernel without IPv6 has none to
/// take.
pub(super) fn shut(name: &str) -> Result<(), String> {
    for (switch, value) in [
        (format!("ipv4/conf/{name}/forwarding"), "0"),
        (format!("ipv4/conf/{name}/rp_filter"), "1"),
        (format!("ipv6/conf/{name}/disable_ipv6"), "1"),
    ] {
        match std::fs::write(format!("/proc/sys/net/{switch}"), value) {
            Err(error) if switch.starts_with("ipv4") || error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{switch}: {error}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes it away; one that is gone is no error.
pub(super) async fn remove(handle: &Handle, name: &str) -> Result<(), String> {
    let Some(index) = index(handle, name).await? else { return Ok(()) };
    match handle.link().del(index).execute().await {
        Err(error) if code(&error) != Some(NO_SUCH_DEVICE) => Err(format!("removal: {error}")),
        _ => Ok(()),
    }
}

async fn index(handle: &Handle, name: &str) -> Result<Option<u32>, String> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(found) => Ok(found.map(|link| link.header.index)),
        Err(error) if code(&error) == Some(NO_SUCH_DEVICE) => Ok(None),
        Err(error) => Err(format!("look-up: {error}")),
    }
}

/// The negative errno of an answer.
fn code(error: &Error) -> Option<i32> {
    match error {
        Error::NetlinkError(answer) => answer.code.map(i32::from),
        _ => None,
    }
}
