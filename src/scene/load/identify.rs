//! What a scene is called, without reading the scene: for listing folders of large files.

use std::path::Path;

use super::{Archive, LoadLimits, RIG, View, identity};
use crate::mapping;
use crate::scene::{Scenario, SceneError};

impl Scenario {
    /// The [`Scenario::sequence_id`] that [`Scenario::open`] would find. The rest of the file may still be refused.
    ///
    /// # Errors
    /// When there is no such file, it is no archive, or what it says of itself cannot be read.
    pub fn identify(path: &Path, limits: &LoadLimits) -> Result<String, SceneError> {
        let unreadable = |source| SceneError::Unreadable { path: path.to_owned(), source };
        let map = mapping::map_file(path).map_err(unreadable)?;
        let mut archive = Archive::open(View::of_map(&map), limits)?;
        if !archive.has(RIG) {
            return Err(SceneError::Missing { member: RIG, seen: archive.elsewhere(RIG) });
        }
        let info = identity(&mut archive, &mut Vec::new())?;
        let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(info.sequence_id.unwrap_or_else(stem))
    }
}
