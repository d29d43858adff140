//! The facade: files in, outcomes, captures and errors out.

use natbox::{Lab, LabError};

const LAB: &str = "
nats: { home: symmetric }
hosts: { alice: { behind: home }, server: {} }
scenario:
  - send: { from: 'alice:1234', to: 'server:5678' }
    expect: { delivered: server }
";

#[test]
fn a_file_runs_and_leaves_a_capture() {
    let folder = tempfile::tempdir().unwrap();
    let (topology, capture) = (folder.path().join("lab.yaml"), folder.path().join("lab.pcapng"));
    std::fs::write(&topology, LAB).unwrap();
    let outcome = Lab::from_file(&topology).unwrap().seed(5).capture(&capture).run().unwrap();
    assert!(outcome.ok);
    assert_eq!((outcome.name.as_str(), outcome.seed), ("lab", 5));
    let bytes = std::fs::read(&capture).unwrap();
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a pcapng section header");
}

#[test]
fn what_cannot_be_read_written_or_understood_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.yaml");
    let error = Lab::from_file(&missing).unwrap_err();
    assert!(matches!(error, LabError::Read { .. }) && error.to_string().contains("missing.yaml"), "{error}");
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
    assert!(Lab::from_file(&binary).unwrap_err().to_string().contains("not UTF-8"));
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "hosts: { a: { behind: b } }").unwrap();
    let error = Lab::from_file(&wrong).unwrap_err();
    assert!(matches!(&error, LabError::Topology(mistakes) if mistakes.list.len() == 1), "{error}");
    assert!(error.to_string().contains("wrong.yaml:1:23"), "{error}");
    let nowhere = folder.path().join("no/such/folder/lab.pcapng");
    let error = Lab::from_yaml(LAB).unwrap().capture(nowhere).run().unwrap_err();
    assert!(matches!(error, LabError::Capture { .. }), "{error}");
}

#[test]
fn a_seed_of_the_file_is_used_unless_another_is_given() {
    let lab = Lab::from_yaml(&format!("seed: 41\n{LAB}")).unwrap();
    let mapped = |lab: &Lab| lab.run().unwrap().steps[0].fact("mapped").map(str::to_owned);
    assert_eq!(lab.run().unwrap().seed, 41);
    assert_ne!(mapped(&lab), mapped(&lab.clone().seed(42)));
    assert_eq!(mapped(&lab), mapped(&lab.clone().seed(41)));
}

#[test]
fn a_plan_builds_a_world_for_programs_of_ones_own() {
    use natbox::host::{Host, UdpSocket};
    let lab = Lab::from_yaml(LAB).unwrap();
    let mut built = lab.plan().build(1);
    let (alice, server) = (built.host("alice").unwrap(), built.host("server").unwrap());
    let seen = built.world.run_until(async {
        let listening = server.udp_bind("198.18.0.3:9".parse().unwrap()).await?;
        alice.udp_bind("10.0.0.2:9".parse().unwrap()).await?.send_to(b"hello", "198.18.0.3:9".parse().unwrap()).await?;
        listening.recv_from(&mut [0; 16]).await
    });
    let seen = seen.unwrap().unwrap();
    assert_eq!((seen.length, seen.source.ip().to_string()), (5, "198.18.0.2".to_owned()));
    assert_eq!(seen.at.as_nanos(), 20_000_000);
}
