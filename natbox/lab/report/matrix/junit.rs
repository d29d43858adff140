//! A matrix for CI systems: JUnit XML, a suite a technique, a test case a cell.
//!
//! A cell that is not as expected is a failure, with its reasons. Where nothing was expected nothing fails: the path is in
//! the output of the test case.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::matrix::{Cell, Sweep};

/// The document.
pub fn junit(sweep: &Sweep) -> String {
    let mut report = Report::new("natbox matrix");
    for technique in 0..sweep.semantics.techniques.len() {
        let mut suite = TestSuite::new(sweep.technique(technique));
        suite.add_property(("semantics", super::semantics(&sweep.semantics).as_str()));
        let cells = sweep.cells.iter().filter(|cell| cell.technique == technique);
        suite.add_test_cases(cells.map(|cell| test_case(sweep, cell)));
        report.add_test_suite(suite);
    }
    report.to_string().unwrap_or_default()
}

fn test_case(sweep: &Sweep, cell: &Cell) -> TestCase {
    let mut status = TestCaseStatus::success();
    if !cell.ok {
        status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        status.set_message(match cell.expected {
            Some(expected) => format!("expected {expected}, came to {}", cell.path),
            None => format!("{}, and something went wrong", cell.path),
        });
        status.set_type("path").set_description(cell.reasons.join("\n"));
    }
    let name = format!("{} to {}, seed {}", sweep.name(cell.a), sweep.name(cell.b), cell.seed);
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("natbox.matrix.{}", sweep.technique(cell.technique)));
    case.set_time(Duration::from_nanos(cell.elapsed_ns));
    let mut output = vec![format!("path: {}", cell.path), format!("packets: {}", cell.packets)];
    output.extend(cell.reasons.iter().cloned());
    case.set_system_out(output.join("\n"));
    case
}
