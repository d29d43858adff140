//! Why two hosts did not come together, whichever technique they tried.

use std::fmt;
use std::time::Duration;

use super::Facts;
use crate::ProbeError;

/// Why two hosts did not come together, and what was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The step that failed; `None` if everything was tried in vain.
    pub error: Option<Box<ProbeError>>,
    /// How long it took.
    pub elapsed: Duration,
    /// What was tried, and what became of it: one line each.
    pub attempts: Vec<String>,
    /// What would have worked, but was not asked for: lines of `attempts`.
    pub forbidden: Vec<String>,
    /// What else went wrong on the way, without ending it.
    pub remarks: Vec<String>,
    /// What the technique has found out or spent.
    pub facts: Facts,
}

impl Failure {
    /// A step that failed.
    pub fn early(error: ProbeError, elapsed: Duration) -> Failure {
        Failure { error: Some(Box::new(error)), elapsed, ..Failure::default() }
    }

    /// Everything was tried in vain; `remark` says what that was.
    pub fn vain(remark: impl Into<String>, elapsed: Duration) -> Failure {
        Failure { elapsed, remarks: vec![remark.into()], ..Failure::default() }
    }

    /// With one more remark.
    pub fn remark(mut self, remark: impl Into<String>) -> Failure {
        self.remarks.push(remark.into());
        self
    }

    /// With these facts.
    pub fn with_facts(mut self, facts: Facts) -> Failure {
        self.facts = facts;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(f, "{error}")?,
            None => write!(f, "no path after {:?}", self.elapsed)?,
        }
        self.attempts.iter().chain(&self.remarks).try_for_each(|line| write!(f, "; {line}"))
    }
}

impl std::error::Error for Failure {}
