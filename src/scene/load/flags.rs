//! `tracks_flags`: `"DYNAMIC|CONTROLLABLE"`, `["DYNAMIC", "CONTROLLABLE"]` or a mask, depending on who wrote the file.

use super::json::{Json, Kind, Result};

const DYNAMIC: i64 = 1;
const CONTROLLABLE: i64 = 2;

/// What of them counts here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    pub(super) dynamic: bool,
    pub(super) controllable: bool,
}

/// Those of one track. Names that are not known mean nothing.
pub(super) fn flags(json: &mut Json) -> Result<Flags> {
    let mut found = Flags::default();
    match json.kind()? {
        Kind::Null => json.skip()?,
        Kind::Number => {
            let mask = json.integer()?;
            found.dynamic = mask & DYNAMIC != 0;
            found.controllable = mask & CONTROLLABLE != 0;
        }
        Kind::List => {
            json.list(|json, _| {
                found.name(&json.string()?);
                Ok(())
            })?;
        }
        _ => json.string()?.split('|').for_each(|name| found.name(name)),
    }
    Ok(found)
}

impl Flags {
    fn name(&mut self, name: &str) {
        match name.trim() {
            "DYNAMIC" => self.dynamic = true,
            "CONTROLLABLE" => self.controllable = true,
            _ => {}
        }
    }
}
