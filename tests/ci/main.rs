//! The examples for CI systems and clusters: read as YAML, and their commands run as those systems would run them, with the
//! variables that they set set by hand. Neither GitHub nor a cluster is asked: what runners, artifacts, images and volumes do
//! is not tried. (`tests/ci/slurm` runs the Slurm example under Slurm itself.)

#![allow(missing_docs, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// What is swept here in place of every preset.
const SWEEP: &str = "--nats symmetric,full-cone,port-restricted-cone --seeds 2 --loss 1%";

fn example(name: &str) -> Value {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/ci").join(name)).expect("an example");
    serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}

/// Runs a command line in a folder: exit code, and what it wrote to standard error.
fn run(shell: &[&str], line: &str, folder: &Path, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let bin = Path::new(env!("CARGO_BIN_EXE_natbox")).parent().expect("a folder");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg(line).current_dir(folder).env("PATH", path).envs(variables.iter().copied());
    let output = command.output().unwrap_or_else(|error| panic!("{shell:?}: {error}"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What the unsplit sweep comes to, as JSON.
fn unsplit() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let ran = run(&["sh", "-c"], &format!("natbox matrix {SWEEP} -o whole.json"), folder.path(), &[]);
    assert_eq!(ran.0, Some(0), "{}", ran.1);
    fs::read_to_string(folder.path().join("whole.json")).expect("a sweep")
}

/// The files of a folder whose names match a pattern with one star.
fn matching(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let (begin, end) = pattern.split_once('*').expect("a star");
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    let mut found: Vec<PathBuf> = names.filter(fits).collect();
    found.sort();
    found
}

/// The jobs of the workflow on GitHub, as far as they are natbox's: artifacts by name, each a folder of files.
struct Runner {
    workflow: Value,
    artifacts: BTreeMap<String, TempDir>,
}

impl Runner {
    /// Runs the steps of a job in a fresh folder, in which `checkout` puts `repository`; the exit code of the first command
    /// that fails. As GitHub does: `bash -e`, and `always()` steps go on after a failure.
    fn job(&mut self, name: &str, part: &str, repository: &[(&str, String)]) -> (i32, TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let steps = self.workflow["jobs"][name]["steps"].as_array().expect("steps").clone();
        let filled = |value: &Value| text(value).replace("${{ matrix.part }}", part);
        let mut failed = 0;
        for step in steps {
            if failed != 0 && step["if"] != "always()" {
                continue;
            }
            if let Some(line) = step.get("run").map(filled) {
                assert!(!line.contains("${{"), "{line}");
                // What is installed is the natbox that is tested.
                if line != "cargo install --path . --locked" {
                    let ran = run(&["bash", "-e", "-c"], &line, folder.path(), &[("SWEEP", SWEEP)]);
                    failed = ran.0.expect("an exit code");
                    assert!(failed < 2, "{line}: {}", ran.1);
                }
                continue;
            }
            match text(&step["uses"]) {
                "actions/checkout@v4" => {
                    repository
                        .iter()
                        .for_each(|(name, text)| fs::write(folder.path().join(name), text).expect("written"));
                }
                "actions/upload-artifact@v4" => {
                    let kept = tempfile::tempdir().expect("a folder");
                    let paths = filled(&step["with"]["path"]);
                    for path in paths.lines() {
                        let found = match path.contains('*') {
                            true => matching(folder.path(), path),
                            false => vec![folder.path().join(path)],
                        };
                        assert!(!found.is_empty(), "nothing to upload at {path}");
                        for file in found.iter().filter(|file| file.is_file()) {
                            fs::copy(file, kept.path().join(file.file_name().expect("a name"))).expect("copied");
                        }
                    }
                    let twice = self.artifacts.insert(filled(&step["with"]["name"]), kept);
                    assert!(twice.is_none(), "an artifact that is there already");
                }
                "actions/download-artifact@v4" => {
                    let pattern = text(&step["with"]["pattern"]).trim_end_matches('*').to_owned();
                    assert_eq!(step["with"]["merge-multiple"], true);
                    for (_, kept) in self.artifacts.iter().filter(|(name, _)| name.starts_with(&pattern)) {
                        for file in matching(kept.path(), "*") {
                            let to = folder.path().join(file.file_name().expect("a name"));
                            assert!(!to.exists(), "{} comes from two artifacts", to.display());
                            fs::copy(file, to).expect("copied");
                        }
                    }
                }
                other => panic!("what does `{other}` do?"),
            }
        }
        (failed, folder)
    }

    fn parts(&mut self) {
        let parts = self.workflow["jobs"]["matrix"]["strategy"]["matrix"]["part"].as_array().expect("parts").clone();
        for part in parts {
            assert_eq!(self.job("matrix", &part.to_string(), &[]).0, 0);
        }
    }
}

fn expectations() -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let line = format!("natbox matrix {SWEEP} --expect matrix.expect.json --bless");
    let ran = run(&["sh", "-c"], &line, folder.path(), &[]);
    assert_eq!(ran.0, Some(0), "{}", ran.1);
    fs::read_to_string(folder.path().join("matrix.expect.json")).expect("a file of expectations")
}

#[test]
fn the_workflow_on_github_holds_its_parts_against_the_expectations() {
    let mut runner = Runner { workflow: example("github-actions.yaml"), artifacts: BTreeMap::new() };
    assert_eq!(runner.workflow["jobs"]["report"]["needs"], "matrix");
    assert!(text(&runner.workflow["env"]["SWEEP"]).starts_with("--nats all"));
    runner.parts();
    let as_written = [("matrix.expect.json", expectations())];
    assert_eq!(runner.job("report", "", &as_written).0, 0, "all is as it was written down");
    let page = runner.artifacts["matrix"].path().join("matrix.html");
    assert!(fs::read_to_string(page).expect("a page").starts_with("<!DOCTYPE html>"));
    runner.artifacts.remove("matrix");

    let other = expectations().replacen("\"punched\"", "\"direct\"", 1).replacen("\"relayed\"", "\"none\"", 1);
    let (code, folder) = runner.job("report", "", &[("matrix.expect.json", other)]);
    assert_eq!(code, 1, "a cell that differs fails the job");
    assert!(folder.path().join("matrix.expect.differs").is_dir(), "and what shows it is uploaded");
    assert!(runner.artifacts["matrix"].path().join("junit.xml").is_file());
}

#[test]
fn the_indexed_job_of_kubernetes_comes_to_the_unsplit_sweep() {
    let job = example("kubernetes-job.yaml");
    assert_eq!((text(&job["apiVersion"]), text(&job["kind"])), ("batch/v1", "Job"));
    let spec = &job["spec"];
    assert_eq!(
        (&spec["completionMode"], &spec["template"]["spec"]["restartPolicy"]),
        (&"Indexed".into(), &"Never".into())
    );
    let container = &spec["template"]["spec"]["containers"][0];
    assert!(text(&container["env"][0]["value"]).starts_with("--nats all"));
    assert_eq!(container["volumeMounts"][0]["name"], spec["template"]["spec"]["volumes"][0]["name"]);
    let command: Vec<&str> = container["command"].as_array().expect("a command").iter().map(text).collect();
    let mount = text(&container["volumeMounts"][0]["mountPath"]);
    let volume = tempfile::tempdir().expect("a folder");
    let line = text(&container["args"][0]).replace(mount, &volume.path().display().to_string());
    let completions = spec["completions"].as_u64().expect("a number");
    for index in 0..completions {
        let variables = [(text(&container["env"][0]["name"]), SWEEP), ("JOB_COMPLETION_INDEX", &index.to_string())];
        let ran = run(&command, &line, volume.path(), &variables);
        assert_eq!(ran.0, Some(0), "{line}: {}", ran.1);
    }
    assert_eq!(matching(volume.path(), "part-*.json").len() as u64, completions);
    let ran = run(&["sh", "-c"], "natbox report part-*.json -o whole.json", volume.path(), &[]);
    assert_eq!(ran.0, Some(0), "{}", ran.1);
    assert_eq!(fs::read_to_string(volume.path().join("whole.json")).expect("the whole"), unsplit());
}

#[test]
fn kubernetes_leaves_the_shells_arithmetic_alone() {
    // `$(NAME)` is Kubernetes' own, where NAME is a variable of the container; what is none stays as it is.
    let job = example("kubernetes-job.yaml");
    let line = text(&job["spec"]["template"]["spec"]["containers"][0]["args"][0]).to_owned();
    let names = line.split("$(").skip(1).map(|rest| rest.split(')').next().unwrap_or_default());
    for name in names {
        let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        assert!(!plain, "`$({name})` would be replaced by Kubernetes, not by the shell");
    }
}
