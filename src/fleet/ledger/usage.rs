//! GPU time by owner and calendar month (UTC).

use super::transact::Ledger;
use super::{Change, Outcome};
use crate::fleet::error::FleetError;
use crate::fleet::rows::InstanceRow;

/// GPU time of what is held is written so often; what is released is written at once.
const EVERY_MS: i64 = 10_000;
const DAY_MS: i64 = 86_400_000;

/// Year and month of a day since 1970, by the civil calendar (H. Hinnant's `civil_from_days`).
fn year_month(day: i64) -> (i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month)
}

/// The month a time is in: `2026-11`.
pub(super) fn month(at_ms: i64) -> String {
    let (year, month) = year_month(at_ms.div_euclid(DAY_MS));
    format!("{year:04}-{month:02}")
}

/// When the month after a time begins.
fn next_month_ms(at_ms: i64) -> i64 {
    let start = at_ms.div_euclid(DAY_MS);
    let this = year_month(start);
    let mut day = start + 1;
    while year_month(day) == this {
        day += 1;
    }
    day * DAY_MS
}

impl Ledger {
    /// Adds the GPU time of an instance that is held, or about to be released.
    pub(super) fn account(&mut self, row: &InstanceRow) {
        let Some(holder) = &row.holder else { return };
        let Some(session) = self.tables.sessions.get(&holder.session) else { return };
        let owner = session.owner.clone();
        // A GPU of four slots is a quarter of a GPU for each.
        let gpus = row.gpus.len() as f64 / f64::from(self.tables.slots(&row.pool));
        let mut from = holder.since_ms.max(self.tables.accounted_ms);
        while gpus > 0.0 && from < self.now_ms {
            let until = self.now_ms.min(next_month_ms(from));
            let month = month(from);
            let gpu_seconds = self.tables.gpu_seconds(&owner, &month) + gpus * (until - from) as f64 / 1000.0;
            self.put(Change::Usage { owner: owner.clone(), month, gpu_seconds });
            from = until;
        }
    }

    pub(super) fn tick(&mut self) -> Result<Outcome, FleetError> {
        self.freed = !self.tables.waiting.is_empty() || !self.tables.short.is_empty();
        let using = self.tables.held.values().flatten().filter_map(|id| self.tables.instances.get(id));
        let using: Vec<InstanceRow> = using.filter(|row| !row.gpus.is_empty()).cloned().collect();
        if !using.is_empty() && self.now_ms - self.tables.accounted_ms >= EVERY_MS {
            for row in &using {
                self.account(row);
            }
            self.put(Change::Accounted { at_ms: self.now_ms });
        }
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_civil_calendar() {
        let days =
            [(0, "1970-01"), (58, "1970-02"), (59, "1970-03"), (11_016, "2000-02"), (11_017, "2000-03")];
        for (day, name) in days {
            assert_eq!(month(day * DAY_MS), name, "day {day}");
            assert_eq!(month(day * DAY_MS + DAY_MS - 1), name, "day {day}");
        }
        assert_eq!(month(-1), "1969-12");
        assert_eq!(month(1_795_267_446_000), "2026-11");
        assert_eq!(month(next_month_ms(1_795_267_446_000)), "2026-12");
        assert_eq!(month(next_month_ms(1_795_267_446_000) - 1), "2026-11");
    }
}
