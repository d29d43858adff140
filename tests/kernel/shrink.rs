//! Makes a sequence that tells two boxes apart as short as it can.

use crate::script::{Action, Script, Step};

/// Sequences that are simpler by one cut each: the largest cuts first.
pub(crate) fn simpler(script: &Script) -> Vec<Script> {
    let steps = &script.steps;
    let mut found = Vec::new();
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        for at in (0..steps.len()).step_by(chunk) {
            let kept = steps.iter().enumerate().filter(|(index, _)| !(at..at + chunk).contains(index));
            found.push(kept.map(|(_, step)| step.clone()).collect());
        }
        chunk /= 2;
    }
    for (index, step) in steps.iter().enumerate() {
        if let Action::Wait { slots } = step.action
            && slots > 1
        {
            let mut shorter: Vec<Step> = steps.clone();
            shorter[index].action = Action::Wait { slots: slots - 1 };
            found.push(shorter);
        }
    }
    found.into_iter().map(|steps| Script { steps: tidy(steps), ..script.clone() }).collect()
}

/// Without waits at the ends, and neighbouring waits in one.
fn tidy(steps: Vec<Step>) -> Vec<Step> {
    let mut tidied: Vec<Step> = Vec::new();
    for step in steps {
        match (&step.action, tidied.last_mut().map(|last| &mut last.action)) {
            (Action::Wait { .. }, None) => {}
            (Action::Wait { slots: more }, Some(Action::Wait { slots })) => *slots += more,
            _ => tidied.push(step),
        }
    }
    while matches!(tidied.last(), Some(Step { action: Action::Wait { .. }, .. })) {
        tidied.pop();
    }
    tidied
}
