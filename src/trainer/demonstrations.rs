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
use crate::instance::contract::Step;
use crate::instance::demonstration::{Line, Meta};

/// Of all demonstrations together; more are not read.
const MOST_ROWS: usize = 1_000_000;
const LONGEST_LINE_BYTES: u64 = 1 << 20;
const LARGEST_META_BYTES: u64 = 1 << 20;

/// Below this share of what a demonstration once weighed, it is not imitated any more.
const FAINT: f64 = 1e-3;

#[derive(Debug)]
struct Folder {
    uri: String,
    rows: Shown,
    count: usize,
    /// The update before which it came in.
    since: u64,
}

/// Everything that was shown.
#[derive(Debug, Default)]
pub struct Library {
    folders: Vec<Folder>,
}

/// What a folder gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learnt {
    /// Steps of the person's.
    pub rows: usize,
    /// Of those, steps that this task cannot have.
    pub left_out: Option<LeftOut>,
}

/// Steps that do not fit the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// How many.
    pub steps: usize,
    /// What is wrong with the first of them.
    pub first: String,
}

/// How much each demonstration counts at one update: the weight it came with times `decay` for every update since, as in
/// DAPG (Rajeswaran and others, 2018). What a person showed is a beginning, which the rewards may contradict.
#[derive(Debug)]
pub struct Lesson {
    /// Of each folder.
    fades: Vec<f64>,
    /// Of each folder: fade times rows.
    shares: Vec<f64>,
}

impl Lesson {
    /// Of all of them together: that of the freshest.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.fades.iter().copied().fold(0.0, f64::max)
    }
}

impl Library {
    /// Rows in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.folders.iter().map(|folder| folder.count).sum()
    }

    /// Adds a folder that came in before update `since`. The same one again changes nothing.
    ///
    /// # Errors
    /// Naming the folder and what is wrong in it, or that nothing in it fits the task; then nothing is added.
    pub fn learn(&mut self, uri: &str, agent: &Agent, since: u64) -> Result<Learnt, TrainerError> {
        if let Some(known) = self.folders.iter().find(|folder| folder.uri == uri) {
            return Ok(Learnt { rows: known.count, left_out: None });
        }
        let folder = local_path(uri)?;
        let (rows, learnt) = read(&folder, agent, MOST_ROWS - self.len())
            .map_err(|problem| TrainerError::Demonstration { path: folder.clone(), problem })?;
        self.folders.push(Folder { uri: uri.to_owned(), rows, count: learnt.rows, since });
        Ok(learnt)
    }

    /// What is imitated before update `updates`.
    #[must_use]
    pub fn lesson(&self, updates: u64, decay: f64) -> Lesson {
        let fade = |folder: &Folder| {
            let age = i32::try_from(updates.saturating_sub(folder.since)).unwrap_or(i32::MAX);
            let fade = decay.powi(age);
            if folder.count == 0 || fade < FAINT { 0.0 } else { fade }
        };
        let fades: Vec<f64> = self.folders.iter().map(fade).collect();
        let shares = self.folders.iter().zip(&fades).map(|(folder, fade)| folder.count as f64 * fade);
        Lesson { shares: shares.collect(), fades }
    }

    /// Draws rows, with repetition; those of a faded folder as much more rarely as it has faded.
    pub fn sample(
        &self,
        lesson: &Lesson,
        count: usize,
        agent: &Agent,
        random: &mut Random,
        into: &mut Shown,
    ) {
        into.observations.clear();
        into.actions.clear();
        let (observation, action) = (agent.shape.observation, agent.action_size());
        let total: f64 = lesson.shares.iter().sum();
        for _ in 0..count.min(self.len()) {
            let mut left = random.uniform() * total;
            let drawn = self.folders.iter().zip(&lesson.shares).find(|(_, share)| {
                left -= **share;
                left < 0.0
            });
            let Some((Folder { rows, count, .. }, _)) = drawn else { continue };
            let row = random.below(*count);
            into.observations.extend_from_slice(&rows.observations[row * observation..][..observation]);
            into.actions.extend_from_slice(&rows.actions[row * action..][..action]);
        }
    }
}

fn read(folder: &Path, agent: &Agent, most: usize) -> Result<(Shown, Learnt), String> {
    let open = |name: &str| File::open(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let meta: Meta = serde_json::from_reader(BufReader::new(open("meta.json")?.take(LARGEST_META_BYTES)))
        .map_err(|error| format!("meta.json: {error}"))?;
    let mut lines = BufReader::new(open("steps.jsonl")?);
    let (mut shown, mut rows, mut left_out) = (Shown::default(), 0, None::<LeftOut>);
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
        match fitting(&step, agent) {
            Ok(_) if rows == most => return Err(format!("more than {MOST_ROWS} rows of demonstrations")),
            Ok(action) => {
                shown.observations.extend(step.observation);
                shown.actions.extend(action);
                rows += 1;
            }
            Err(problem) => {
                let first = || LeftOut { steps: 0, first: format!("steps.jsonl line {number}: {problem}") };
                left_out.get_or_insert_with(first).steps += 1;
            }
        }
    }
    let sum: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if !meta.steps_sha256.is_empty() && !meta.steps_sha256.eq_ignore_ascii_case(&sum) {
        return Err(format!("steps.jsonl has sha256 {sum}; meta.json says {}", meta.steps_sha256));
    }
    match left_out {
        Some(LeftOut { steps, first }) if rows == 0 => {
            Err(format!("none of {steps} steps fits the task; the first: {first}"))
        }
        left_out => Ok((shown, Learnt { rows, left_out })),
    }
}

/// The action as the nets see it. An arm off its rail, for one, does what the task has no word for.
fn fitting(step: &Step, agent: &Agent) -> Result<Vec<f64>, String> {
    let expected = agent.shape.observation;
    if step.observation.len() != expected || step.observation.iter().any(|number| !number.is_finite()) {
        let found = step.observation.len();
        return Err(format!("an observation of {found} numbers; expected {expected} finite ones"));
    }
    let shown = || step.action.iter().take(8).collect::<Vec<_>>();
    agent.units(&step.action).ok_or_else(|| {
        format!(
            "an action of {} numbers, {:?}; expected {:?}",
            step.action.len(),
            shown(),
            agent.shape.action
        )
    })
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

    fn learn(steps: &str, meta: &str) -> Result<(Learnt, Library), String> {
        let mut library = Library::default();
        let learnt = add(&mut library, steps, meta, 0)?;
        Ok((learnt, library))
    }

    fn add(library: &mut Library, steps: &str, meta: &str, since: u64) -> Result<Learnt, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meta.json"), meta).unwrap();
        fs::write(folder.path().join("steps.jsonl"), steps).unwrap();
        let uri = format!("file://{}", folder.path().display());
        let learnt = library.learn(&uri, &agent(), since).map_err(|error| error.to_string())?;
        let again = library.learn(&uri, &agent(), since + 9).map_err(|error| error.to_string())?;
        assert_eq!(again.rows, learnt.rows);
        Ok(learnt)
    }

    fn drawn(library: &Library, updates: u64) -> Shown {
        let mut shown = Shown::default();
        let mut random = Random::new(1);
        library.sample(&library.lesson(updates, 0.5), 50, &agent(), &mut random, &mut shown);
        shown
    }

    #[test]
    fn what_the_person_did_is_learnt_and_what_the_policy_did_is_not() {
        let (learnt, library) = learn(GOOD, r#"{"user":"ann"}"#).unwrap();
        assert_eq!((learnt, library.len()), (Learnt { rows: 2, left_out: None }, 2));
        let shown = drawn(&library, 0);
        assert_eq!(shown.actions.len(), 2, "no more than there are");
        for row in shown.observations.chunks(2).zip(&shown.actions) {
            assert!(row == (&[1.0, 2.0], &1.0) || row == (&[5.0, 6.0], &0.0), "{row:?}");
        }
    }

    #[test]
    fn steps_that_the_task_cannot_have_are_left_out_and_counted() {
        let off_the_rail = r#"{"observation":[7,8],"action":[0.1,0,0,0,0,0,0.5],"controller":"human"}
{"observation":[7,8,9],"action":[1],"controller":"human"}
{"observation":[7,8],"action":[0.5],"controller":"human"}
{"observation":[7,8],"action":[],"controller":"human"}
"#;
        let (learnt, library) = learn(&format!("{off_the_rail}{GOOD}"), "{}").unwrap();
        let LeftOut { steps, first } = learnt.left_out.unwrap();
        assert_eq!((learnt.rows, library.len(), steps), (2, 2, 4));
        assert!(first.contains("line 1: an action of 7 numbers") && first.contains("Discrete"), "{first}");
        assert!(drawn(&library, 0).observations.iter().all(|number| *number < 7.0));
        let problem = learn(off_the_rail, "{}").unwrap_err();
        assert!(
            problem.contains("none of 4 steps fits the task; the first: steps.jsonl line 1"),
            "{problem}"
        );
    }

    #[test]
    fn a_demonstration_fades_and_a_fresh_one_is_drawn_instead() {
        let line = |at: usize| format!("{{\"observation\":[{at},0],\"action\":[1]}}\n");
        let mut library = Library::default();
        add(&mut library, &line(1).repeat(100), "{}", 3).unwrap();
        let weight = |library: &Library, updates| library.lesson(updates, 0.5).weight();
        assert_eq!([3, 4, 6].map(|updates| weight(&library, updates)), [1.0, 0.5, 0.125]);
        assert_eq!((weight(&library, 20), drawn(&library, 20).actions.len()), (0.0, 0));
        assert_eq!(library.lesson(1 << 40, 1.0).weight(), 1.0, "without fading it stays");
        assert_eq!((library.lesson(3, 0.0).weight(), library.lesson(4, 0.0).weight()), (1.0, 0.0));
        add(&mut library, &line(2).repeat(100), "{}", 9).unwrap();
        assert_eq!(weight(&library, 9), 1.0);
        let fresh = drawn(&library, 9).observations.chunks(2).filter(|row| row[0] == 2.0).count();
        assert!((45..=50).contains(&fresh), "{fresh} of 50");
    }

    #[test]
    fn a_malformed_folder_is_refused_as_a_whole_with_the_place_in_it() {
        let sum = format!(r#"{{"steps_sha256":"{}"}}"#, "0".repeat(64));
        for (steps, meta, part) in [
            (GOOD, "{", "meta.json"),
            ("{}\nnot json\n", "{}", "line 2"),
            (&format!("{GOOD}x"), "{}", "line 4"),
            ("{}\n", "{}", "line 1: an observation of 0 numbers"),
            (GOOD, sum.as_str(), "sha256"),
        ] {
            let problem = learn(steps, meta).unwrap_err();
            assert!(problem.contains(part), "{problem:?} does not say {part:?}");
        }
        let nowhere = Library::default().learn("file:///nowhere/at/all", &agent(), 0);
        assert!(nowhere.unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
