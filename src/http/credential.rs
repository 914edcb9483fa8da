//! The token a request carries, wherever the client could put it.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use percent_encoding::percent_decode;

/// The subprotocol of this server's own websockets: what a browser is answered that offers a token beside it.
pub const WEBSOCKET_PROTOCOL: &str = "neuro.live";

/// `Authorization: Bearer TOKEN` or `Api-Key TOKEN`, `X-Tether-Key`, or the subprotocol `bearer.TOKEN`.
#[must_use]
pub fn credential(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        let tether = headers.get("x-tether-key").map(|key| Cow::Borrowed(key.as_bytes()));
        return tether.or_else(|| offered(headers));
    };
    let value = value.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, rest) = value.split_at_checked(space)?;
    let known = scheme.eq_ignore_ascii_case(b"bearer") || scheme.eq_ignore_ascii_case(b"api-key");
    known.then(|| Cow::Borrowed(rest.trim_ascii()))
}

/// The token among the subprotocols a browser offers.
fn offered(headers: &HeaderMap) -> Option<Cow<'_, [u8]>> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut names =
        lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    names.find_map(|name| name.strip_prefix(b"bearer.")).map(|token| percent_decode(token).into())
}
