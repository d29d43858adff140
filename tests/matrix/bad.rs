//! Bad input: a clear error, exit code 2, and nothing written.

use super::lab::Lab;
use super::run;

#[test]
fn each_bad_input_is_a_clear_error_and_leaves_nothing_behind() {
    let lab = Lab::new();
    lab.write("lab.yaml", "nats: { home: symmetric, symmetric: full-cone }\n");
    lab.write("bad.yaml", "nats: { home: { mapping: endpoint-independant } }\n");
    lab.write("empty.yaml", "hosts: { a: {} }\n");
    let before = lab.files();
    for (options, message) in [
        (&["--nats", "symetric"][..], "error: no NAT is called `symetric`; did you mean `symmetric`?"),
        (&["--nats", "my-router"], "error: no NAT is called `my-router`; `natbox nat list` has the presets"),
        (
            &["--nats", "endpoint-independent/adress-dependent"],
            "error: no filtering behaviour is called `adress-dependent`; did you mean `address-dependent`?",
        ),
        (
            &["--nats", "full/address-dependent"],
            "error: no mapping behaviour is called `full`; known: endpoint-independent, address-dependent, ",
        ),
        (&["--nats", "lab.yaml:hom"], "error: lab.yaml has no NAT `hom`; did you mean `home`?"),
        (&["--nats", "none.yaml"], "error: cannot read none.yaml"),
        (&["none.yaml"], "error: cannot read none.yaml"),
        (&["bad.yaml"], "did you mean `endpoint-independent`?"),
        (&["empty.yaml"], "error: there is no NAT in it"),
        (
            &["lab.yaml", "--nats", "symmetric,all"],
            "error: two different NATs are called `symmetric`; name one as FILE:symmetric",
        ),
        (&["--nats", ""], "error: no NAT is called ``"),
        (&["--techniques", "conect"], "error: no technique is called `conect`; did you mean `connect`?"),
        (&["--techniques", "magic"], "error: no technique is called `magic`; known: "),
        (&["--filter-scope", "mappings"], "error: no filter scope is called `mappings`; did you mean `mapping`?"),
        (&["--session-affinity", "maybe"], "error: no session affinity is called `maybe`; known: on, off"),
        (&["--loss", "5"], "error: `loss` is wrong: "),
        (&["--loss", "101%"], "error: `loss` is wrong: "),
        (&["--latency", "10ms, loss: 5%"], "error: `latency` is wrong: "),
        (&["--rate", "0kbit"], "error: `rate` is wrong: "),
        (&["--mtu", "12"], "error: `mtu` is wrong: "),
        (&["--queue", "many"], "error: `queue` is wrong: "),
        (&["--control", "upnp"], "error: `control` is wrong: unknown port control protocol `upnp`; expected "),
        (&["--shard", "0/4"], "error: `0/4` is no part of a sweep: K goes from 1 to 4"),
        (&["--shard", "5/4"], "error: `5/4` is no part of a sweep: K goes from 1 to 4"),
        (&["--shard", "1/0"], "error: `1/0` is no part of a sweep: there are 1 to 100000 parts"),
        (&["--shard", "half"], "error: `half` is no part of a sweep: it has the form K/N, such as 2/8"),
        (&["--seeds", "100000"], "cells, and at most 250000 are run at once: split the sweep with --shard K/N"),
        (&["--seeds", "2", "--seed", "18446744073709551615"], "error: there are not so many seeds"),
        (&["--seeds", "0"], "error: invalid value '0' for '--seeds <N>': expected a whole number, 1 at least"),
        (&["--jobs", "0"], "error: invalid value '0' for '--jobs <N>': expected a whole number, 1 at least"),
        (&["--format", "yaml"], "error: invalid value 'yaml' for '--format <FORMAT>'"),
        (&["--bless"], "--expect <FILE>"),
        (&["--expect", "none.json"], "error: cannot read none.json"),
        (&["--expect", "lab.yaml"], "error: lab.yaml: this is no file of expectations"),
        (&["lab.yaml", "-o", "lab.yaml"], "error: lab.yaml would be overwritten"),
        (&["-o", "x.json", "-o", "x.json"], "error: x.json would be overwritten"),
        (&["--nats", "symmetric", "-o", "no/such/x.json"], "error: cannot write no/such/x.json"),
        // Before anything is run: the first is not written either.
        (&["--nats", "symmetric", "-o", "x.json", "-o", "no/such/x.md"], "error: cannot write no/such/x.md"),
        (&["--nats", "symmetric", "-o", "."], "error: cannot write .: is a directory"),
        (&["--expect", "no/such/x.json", "--bless"], "error: cannot write no/such/x.json"),
        (
            &["--shard", "1/2", "--expect", "x.json", "--bless"],
            "error: a part of a sweep cannot be blessed: join the parts",
        ),
    ] {
        let said = run(&lab, options);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{options:?}: {said:?}");
        assert!(said.err.contains(message), "{options:?}: {message}: {}", said.err);
        assert_eq!(lab.files(), before, "{options:?}");
    }
}
