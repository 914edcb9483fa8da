//! What people showed: folders of [`crate::instance::demonstration`], as rows to imitate.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::checkpoint::local_path;
use super::error::TrainerError;
use super::loss::Shown;
use super::policy::Agent;
use super::random::Random;
use crate::instance::demonstration::{Line, Meta};

/// Of all demonstrations together; more are not read.
const MOST_ROWS: usize = 1_000_000;
const LONGEST_LINE_BYTES: u64 = 1 << 20;
const LARGEST_META_BYTES: u64 = 1 << 20;

/// Everything that was shown.
#[derive(Debug, Default)]
pub struct Library {
    rows: Shown,
    count: usize,
}

impl Library {
    /// Rows in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing was shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds a folder: all of it, or nothing. How many rows it gave.
    ///
    /// # Errors
    /// Naming the folder and what is wrong in it.
    pub fn learn(&mut self, uri: &str, agent: &Agent) -> Result<usize, TrainerError> {
        let folder = local_path(uri)?;
        let (rows, count) = read(&folder, agent, MOST_ROWS - self.count)
            .map_err(|problem| TrainerError::Demonstration { path: folder.clone(), problem })?;
        self.rows.observations.extend(rows.observations);
        self.rows.actions.extend(rows.actions);
        self.count += count;
        Ok(count)
    }

    /// Draws rows, with repetition.
    pub fn sample(&self, count: usize, agent: &Agent, random: &mut Random, into: &mut Shown) {
        into.observations.clear();
        into.actions.clear();
        let (observation, action) = (agent.shape.observation, agent.action_size());
        for _ in 0..count.min(self.count) {
            let row = random.below(self.count);
            into.observations.extend_from_slice(&self.rows.observations[row * observation..][..observation]);
            into.actions.extend_from_slice(&self.rows.actions[row * action..][..action]);
        }
    }
}

fn read(folder: &Path, agent: &Agent, most: usize) -> Result<(Shown, usize), String> {
    let open = |name: &str| File::open(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let meta: Meta = serde_json::from_reader(BufReader::new(open("meta.json")?.take(LARGEST_META_BYTES)))
        .map_err(|error| format!("meta.json: {error}"))?;
    let mut lines = BufReader::new(open("steps.jsonl")?);
    let (mut rows, mut count) = (Shown::default(), 0);
    let (mut sum, mut text) = (Sha256::new(), Vec::new());
    for number in 1.. {
        text.clear();
        let cannot = |error: std::io::Error| format!("steps.jsonl line {number}: {error}");
        let read = (&mut lines).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut text).map_err(cannot)?;
        if read == 0 {
            break;
        }
        sum.update(&text);
        if text.trim_ascii().is_empty() {
            continue;
        }
        let line: Line =
            serde_json::from_slice(&text).map_err(|error| format!("steps.jsonl line {number}: {error}"))?;
        let step = line.step;
        // A recording runs on while the policy drives between two grips of the person.
        if !matches!(step.controller.as_str(), "human" | "") {
            continue;
        }
        if step.observation.len() != agent.shape.observation
            || step.observation.iter().any(|x| !x.is_finite())
        {
            let (found, expected) = (step.observation.len(), agent.shape.observation);
            return Err(format!(
                "steps.jsonl line {number}: an observation of {found} numbers; expected {expected} finite ones"
            ));
        }
        let action = agent.units(&step.action).ok_or_else(|| {
            format!("steps.jsonl line {number}: action {:?} is none of {:?}", step.action, agent.shape.action)
        })?;
        if count == most {
            return Err(format!("more than {MOST_ROWS} rows of demonstrations"));
        }
        rows.observations.extend(step.observation);
        rows.actions.extend(action);
        count += 1;
    }
    let sum: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if !meta.steps_sha256.is_empty() && !meta.steps_sha256.eq_ignore_ascii_case(&sum) {
        return Err(format!("steps.jsonl has sha256 {sum}; meta.json says {}", meta.steps_sha256));
    }
    Ok((rows, count))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::instance::step::ActionSpace;
    use crate::trainer::policy::Shape;

    const GOOD: &str = r#"{"observation":[1,2],"action":[1],"reward":1,"controller":"human","command":{"type":"mode","mode":"manual"}}
{"observation":[3,4],"action":[0],"controller":"trainer"}
{"observation":[5,6],"action":[0],"controller":"human","frame":"frames/000001.jpg"}
"#;

    fn agent() -> Agent {
        let action = ActionSpace::Discrete { discrete: 2 };
        Agent::new(Shape { observation: 2, action, hidden: vec![4] }, &mut Random::new(1))
    }

    fn learn(steps: &str, meta: &str) -> Result<(usize, Library), String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meta.json"), meta).unwrap();
        fs::write(folder.path().join("steps.jsonl"), steps).unwrap();
        let mut library = Library::default();
        let uri = format!("file://{}", folder.path().display());
        let learnt = library.learn(&uri, &agent()).map_err(|error| error.to_string())?;
        Ok((learnt, library))
    }

    #[test]
    fn what_the_person_did_is_learnt_and_what_the_policy_did_is_not() {
        let (learnt, library) = learn(GOOD, r#"{"user":"ann"}"#).unwrap();
        assert_eq!((learnt, library.len()), (2, 2));
        let mut shown = Shown::default();
        library.sample(50, &agent(), &mut Random::new(1), &mut shown);
        assert_eq!(shown.actions.len(), 2, "no more than there are");
        for row in shown.observations.chunks(2).zip(&shown.actions) {
            assert!(row == (&[1.0, 2.0], &1.0) || row == (&[5.0, 6.0], &0.0), "{row:?}");
        }
    }

    #[test]
    fn a_malformed_folder_is_refused_as_a_whole_with_the_place_in_it() {
        let sum = format!(r#"{{"steps_sha256":"{}"}}"#, "0".repeat(64));
        for (steps, meta, part) in [
            (GOOD, "{", "meta.json"),
            ("{}\nnot json\n", "{}", "line 1: an observation of 0 numbers"),
            (&format!("{GOOD}x"), "{}", "line 4"),
            (&GOOD.replace("\"action\":[0]", "\"action\":[2]"), "{}", "line 3: action [2.0] is none of"),
            (GOOD, sum.as_str(), "sha256"),
        ] {
            let problem = learn(steps, meta).unwrap_err();
            assert!(problem.contains(part), "{problem:?} does not say {part:?}");
        }
        let mut library = Library::default();
        assert!(
            library
                .learn("file:///nowhere/at/all", &agent())
                .unwrap_err()
                .to_string()
                .contains("/nowhere/at/all")
        );
    }
}
