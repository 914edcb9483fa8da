//! Poses as a table, in UTF-8 with a comma between fields (RFC 4180).
//!
//! Columns: `timestamp_us` (microseconds, as in the scenario), `entity` (`ego` or the id of a track), `class` (`ego` for the
//! ego vehicle), `x_m`, `y_m`, `z_m` (world, metres: the rig's origin on the ground for the ego vehicle, the cuboid's centre
//! for a track), `qx`, `qy`, `qz`, `qw` (world from entity, unit quaternion), `length_m`, `width_m`, `height_m` (empty for an
//! ego vehicle of unknown size). One row an instant for the ego vehicle, then one for each track that is there. Numbers
//! read back as the same doubles.

use std::io::Write;
use std::sync::Arc;

use glam::DVec3;

use super::run::{Sample, Target};
use super::{ExportError, ExportPlan, Report};
use crate::geometry::Pose;

const HEADER: &str = "timestamp_us,entity,class,x_m,y_m,z_m,qx,qy,qz,qw,length_m,width_m,height_m";

pub(super) struct CsvTarget<W> {
    plan: Arc<ExportPlan>,
    out: W,
}

impl<W: Write> CsvTarget<W> {
    pub(super) fn open(plan: Arc<ExportPlan>, mut out: W) -> Result<Self, ExportError> {
        writeln!(out, "{HEADER}")?;
        Ok(Self { plan, out })
    }

    fn row(
        &mut self,
        timestamp_us: i64,
        [entity, class]: [&str; 2],
        pose: &Pose,
        dimensions_m: Option<DVec3>,
    ) -> std::io::Result<()> {
        let [x, y, z] = pose.translation_m.to_array();
        let [qx, qy, qz, qw] = pose.quaternion_xyzw();
        let (entity, class) = (quoted(entity), quoted(class));
        write!(self.out, "{timestamp_us},{entity},{class},{x},{y},{z},{qx},{qy},{qz},{qw}")?;
        match dimensions_m {
            Some(DVec3 { x, y, z }) => writeln!(self.out, ",{x},{y},{z}"),
            None => writeln!(self.out, ",,,"),
        }
    }
}

impl<W: Write> Target for CsvTarget<W> {
    fn put(&mut self, sample: Sample) -> Result<(), ExportError> {
        let plan = Arc::clone(&self.plan);
        let (scenario, at_us) = (&plan.scenario, sample.timestamp_us);
        if let Some(pose) = scenario.ego.pose_at(at_us) {
            let dimensions_m = scenario.rig_box.map(|rig_box| rig_box.dimensions_m);
            self.row(at_us, ["ego", "ego"], &pose, dimensions_m)?;
        }
        if plan.shots.objects {
            for (_, track, pose) in scenario.tracks.alive_at(at_us) {
                self.row(at_us, [&track.id, &track.class], &pose, Some(track.dimensions_m))?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, _: &Report) -> Result<(), ExportError> {
        Ok(self.out.flush()?)
    }
}

/// In quotes where a reader would otherwise see more than one field.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
