//! What a NAT's conformance came to, for people, for programs, and for documents.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::conform::{Finding, Judgement};
use crate::paint::Paint;

/// The verdict's word, and what there is to say about it.
fn words(finding: &Finding) -> (&'static str, &str) {
    match finding {
        Finding::Met => ("met", ""),
        Finding::Violated(observed) => ("violated", observed),
        Finding::NotApplicable(why) => ("not applicable", why),
    }
}

/// How many are met, violated and not applicable, and how many MUSTs are violated.
fn counts(judgements: &[Judgement]) -> [usize; 4] {
    let of = |word| judgements.iter().filter(|one| words(&one.finding).0 == word).count();
    [of("met"), of("violated"), of("not applicable"), judgements.iter().filter(|one| one.fails()).count()]
}

/// A line for each requirement, and a sum; `failures` alone: of the violated ones.
pub fn text(nat: &str, judgements: &[Judgement], failures: bool, paint: Paint) -> String {
    let mut text = String::new();
    if !failures {
        writeln!(text, "{}", paint.strong(nat)).ok();
    }
    let mut rfc = None;
    for one in judgements {
        let (word, why) = words(&one.finding);
        let violated = matches!(one.finding, Finding::Violated(_));
        if failures && !violated {
            continue;
        }
        if rfc.replace(one.rfc) != Some(one.rfc) {
            writeln!(text, "{}", paint.strong(format!("RFC {} ({})", one.rfc.number(), one.rfc.title()))).ok();
        }
        let padded = format!("{word:<14}");
        let painted = match one.finding {
            Finding::Met => paint.good(padded),
            Finding::Violated(_) => paint.bad(padded),
            Finding::NotApplicable(_) => paint.faint(padded),
        };
        writeln!(text, "  {painted}  {:<26}  {:<11}  {}", one.id, one.level.word(), one.asks).ok();
        if !why.is_empty() {
            writeln!(text, "  {:16}{}", "", paint.faint(why)).ok();
        }
    }
    let [met, violated, not_applicable, musts] = counts(judgements);
    let of_musts = if musts == 1 { "1 of them a MUST".to_owned() } else { format!("{musts} of them MUSTs") };
    let sum = format!("{nat}: {met} met, {violated} violated ({of_musts}), {not_applicable} not applicable");
    writeln!(text, "{}", if musts == 0 { paint.good(sum) } else { paint.bad(sum) }).ok();
    text
}

/// The same as JSON.
pub fn json(nat: &str, judgements: &[Judgement]) -> String {
    let rows: Vec<Value> = judgements
        .iter()
        .map(|one| {
            let (word, why) = words(&one.finding);
            let mut row =
                json!({ "rfc": one.rfc.number(), "id": one.id, "level": one.level, "asks": one.asks, "verdict": word });
            match one.finding {
                Finding::Met => {}
                Finding::Violated(_) => row["observed"] = why.into(),
                Finding::NotApplicable(_) => row["why"] = why.into(),
            }
            if let Some(inherent) = one.inherent {
                row["inherent"] = inherent.into();
            }
            row
        })
        .collect();
    let [met, violated, not_applicable, musts] = counts(judgements);
    let report = json!({
        "natbox": 1, "nat": nat, "ok": musts == 0,
        "counts": { "met": met, "violated": violated, "not_applicable": not_applicable, "violated_musts": musts },
        "requirements": rows,
    });
    format!("{report:#}\n")
}

/// The same as a Markdown table, of several NATs side by side; below it a list of what was observed, and why what is not
/// applicable is not. All have been judged by the same RFCs.
pub fn markdown(nats: &[(&str, Vec<Judgement>)]) -> String {
    let Some((_, rows)) = nats.first() else { return String::new() };
    let mut text = String::from("| requirement | level | asks for |");
    nats.iter().for_each(|(name, _)| _ = write!(text, " {name} |"));
    text.push_str("\n| --- | --- | --- |");
    nats.iter().for_each(|_| text.push_str(" --- |"));
    text.push('\n');
    for (index, row) in rows.iter().enumerate() {
        write!(text, "| {} | {} | {} |", row.id, row.level.word(), row.asks).ok();
        for (_, judgements) in nats {
            let word = judgements.get(index).map_or("", |one| words(&one.finding).0);
            write!(text, " {} |", if word == "violated" { "**violated**" } else { word }).ok();
        }
        text.push('\n');
    }
    for (name, judgements) in nats {
        writeln!(text, "\n{name}:\n").ok();
        for one in judgements {
            let (word, why) = words(&one.finding);
            if !why.is_empty() {
                writeln!(text, "* {} {word}: {why}", one.id).ok();
            }
        }
    }
    text
}
