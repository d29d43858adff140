//! UPnP-IGD: the rows of B.12.

use std::net::SocketAddr;

use natbox_host::{Host, PortControl, TcpOptions, UdpSocket};
use natbox_probes::portmap::server::{Config, Faults};
use natbox_probes::portmap::upnp::client::{self, Gateway};
use natbox_probes::portmap::upnp::http;
use natbox_probes::portmap::upnp::soap::Call;
use natbox_probes::portmap::upnp::xml::Element;
use natbox_probes::portmap::{Control, Failure, natpmp};
use natbox_wire::MappedBy;
use natbox_world::VirtualHost;

use crate::support::*;

/// A home of this version, and its gateway as alice found it.
fn found(speaks: &[Control]) -> (Home, Gateway) {
    found_with(Config::new(speaks.iter().copied()))
}

fn found_with(config: Config) -> (Home, Gateway) {
    let mut home = home_with(symmetric(), config);
    let alice = home.alice.clone();
    let gateway = home.run(client::find(&alice, ip("10.0.0.2"), PATIENCE)).expect("a gateway");
    (home, gateway)
}

/// What AddPortMapping takes, with what differs from the usual.
fn entry<'a>(changes: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    let usual = [
        ("NewRemoteHost", ""),
        ("NewExternalPort", "40000"),
        ("NewProtocol", "UDP"),
        ("NewInternalPort", "5000"),
        ("NewInternalClient", "10.0.0.2"),
        ("NewEnabled", "1"),
        ("NewPortMappingDescription", "test <1>"),
        ("NewLeaseDuration", "3600"),
    ];
    let changed = |name| changes.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
    usual.into_iter().map(|(name, value)| (name, changed(name).unwrap_or(value).to_owned())).collect()
}

fn act(
    home: &mut Home,
    gateway: &Gateway,
    host: &VirtualHost,
    action: &str,
    values: &[(&str, String)],
) -> Result<Call, u16> {
    match home.run(client::call(host, gateway, action, values, PATIENCE)) {
        Ok(call) => Ok(call),
        Err(Failure::Refused { code, .. }) => Err(code),
        Err(other) => panic!("{other}"),
    }
}

fn add(home: &mut Home, gateway: &Gateway, host: &VirtualHost, changes: &[(&str, &str)]) -> Result<(), u16> {
    let names: Vec<(&str, &str)> = changes.to_vec();
    act(home, gateway, host, "AddPortMapping", &entry(&names)).map(drop)
}

fn key(port: &str) -> Vec<(&'static str, String)> {
    vec![("NewRemoteHost", String::new()), ("NewExternalPort", port.to_owned()), ("NewProtocol", "UDP".to_owned())]
}

fn range(start: &str, end: &str) -> Vec<(&'static str, String)> {
    let values = [("NewStartPort", start), ("NewEndPort", end), ("NewProtocol", "UDP"), ("NewManage", "0")];
    values.map(|(name, value)| (name, value.to_owned())).to_vec()
}

#[test]
fn addportmapping_maps_and_the_same_client_may_overwrite_and_another_may_not() {
    let (mut home, gateway) = found(&[Control::Igd1]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    assert_eq!(gateway.version(), 1);
    assert_eq!(add(&mut home, &gateway, &alice, &[]), Ok(()));
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    assert_eq!(add(&mut home, &gateway, &alice, &[("NewLeaseDuration", "60")]), Ok(()), "renewed");
    assert_eq!(add(&mut home, &gateway, &alice, &[("NewInternalPort", "5001")]), Ok(()), "overwritten");
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5001));
    assert_eq!(add(&mut home, &gateway, &bob, &[("NewInternalClient", "10.0.0.3")]), Err(718));
    assert_eq!(home.mappings().len(), 1);
    assert_eq!(home.mappings()[0].by, MappedBy::Upnp);
}

#[test]
fn addportmapping_of_one_remote_admits_that_one_alone() {
    let (mut home, gateway) = found(&[Control::Igd1]);
    let alice = home.alice.clone();
    assert_eq!(add(&mut home, &gateway, &alice, &[("NewRemoteHost", "198.18.0.77")]), Ok(()));
    assert!(!home.reaches(at("198.18.0.2:40000"), &alice, 5000));
    assert_eq!(add(&mut home, &gateway, &alice, &[("NewRemoteHost", "198.18.0.9")]), Ok(()));
    assert!(home.reaches(at("198.18.0.2:40000"), &alice, 5000));
}

#[test]
fn lease_0_is_for_good_in_version_1_and_a_week_in_version_2() {
    for (version, lease, lives) in [
        (Control::Igd1, "0", None),
        (Control::Igd1, "600", Some(600)),
        (Control::Igd2, "0", Some(604_800)),
        (Control::Igd2, "4294967295", Some(604_800)),
        (Control::Igd2, "600", Some(600)),
    ] {
        let (mut home, gateway) = found(&[version]);
        let alice = home.alice.clone();
        assert_eq!(add(&mut home, &gateway, &alice, &[("NewLeaseDuration", lease)]), Ok(()));
        let one = home.mappings().remove(0);
        assert_eq!(one.until.map(|until| until.since(one.since).as_secs()), lives, "{version} {lease}");
    }
}

#[test]
fn lease_a_box_that_knows_none_answers_725_and_clients_ask_for_good() {
    let faults = Faults { only_permanent: true, ..Faults::default() };
    let (mut home, gateway) = found_with(Config { faults, ..Config::new([Control::Igd1]) });
    let alice = home.alice.clone();
    assert_eq!(add(&mut home, &gateway, &alice, &[]), Err(725));
    let granted = home.run(client::map(&alice, &gateway, &wish(5000), PATIENCE)).expect("granted");
    assert_eq!((granted.external, granted.lifetime), (at("198.18.0.2:5000"), None));
    assert_eq!(home.mappings()[0].until, None);
}

#[test]
fn secure_mode_hosts_map_to_themselves_alone() {
    for (version, code) in [(Control::Igd1, 718), (Control::Igd2, 606)] {
        let (mut home, gateway) = found(&[version]);
        let alice = home.alice.clone();
        assert_eq!(add(&mut home, &gateway, &alice, &[("NewInternalClient", "10.0.0.3")]), Err(code), "{version}");
        let (mut home, gateway) = found_with(Config { secure_mode: false, ..Config::new([version]) });
        let (alice, bob) = (home.alice.clone(), home.bob.clone());
        assert_eq!(add(&mut home, &gateway, &alice, &[("NewInternalClient", "10.0.0.3")]), Ok(()), "{version}");
        assert!(home.reaches(at("198.18.0.2:40000"), &bob, 5000));
    }
}

#[test]
fn wildcards_and_arguments_that_make_no_sense_are_refused() {
    for (version, internal) in [(Control::Igd1, 402), (Control::Igd2, 732)] {
        let (mut home, gateway) = found(&[version]);
        let alice = home.alice.clone();
        for (change, code) in [
            (("NewExternalPort", "0"), 716),
            (("NewInternalPort", "0"), internal),
            (("NewProtocol", "SCTP"), 402),
            (("NewExternalPort", "70000"), 402),
            (("NewInternalClient", "alice"), 402),
            (("NewRemoteHost", "somebody"), 402),
            (("NewLeaseDuration", ""), 402),
            (("NewEnabled", "0"), 501),
        ] {
            assert_eq!(add(&mut home, &gateway, &alice, &[change]), Err(code), "{change:?}");
        }
        let few = entry(&[])[..5].to_vec();
        assert_eq!(act(&mut home, &gateway, &alice, "AddPortMapping", &few), Err(402));
        assert_eq!(act(&mut home, &gateway, &alice, "ForceTermination", &[]), Err(401));
        assert_eq!(home.mappings(), []);
    }
}

#[test]
fn v2_only_addanyportmapping_gives_the_port_asked_for_or_another() {
    let (mut home, gateway) = found(&[Control::Igd2]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    let any = |home: &mut Home, host: &VirtualHost, client: &str| {
        let done = act(home, &gateway, host, "AddAnyPortMapping", &entry(&[("NewInternalClient", client)]));
        done.map(|call| call.value("NewReservedPort").expect("a port").parse::<u16>().expect("a port"))
    };
    assert_eq!(any(&mut home, &alice, "10.0.0.2"), Ok(40_000));
    assert_eq!(any(&mut home, &alice, "10.0.0.2"), Ok(40_000), "already mine");
    let other = any(&mut home, &bob, "10.0.0.3").expect("another");
    assert_ne!(other, 40_000);
    assert!(home.reaches(SocketAddr::new(ip("198.18.0.2"), other), &bob, 5000));
    let (mut home, gateway) = found(&[Control::Igd1]);
    let alice = home.alice.clone();
    assert_eq!(act(&mut home, &gateway, &alice, "AddAnyPortMapping", &entry(&[])), Err(401), "not in version 1");
}

#[test]
fn v2_only_no_port_left_is_728_and_a_clash_with_other_mechanisms_729() {
    let mut behavior = symmetric();
    behavior.quota.ports = Some(1);
    let mut home = home_with(behavior, Config::new([Control::Igd2, Control::NatPmp]));
    let alice = home.alice.clone();
    let gateway = home.run(client::find(&alice, ip("10.0.0.2"), PATIENCE)).expect("a gateway");
    let wished = natbox_probes::portmap::Wish { external_port: 40_000, ..wish(5000) };
    home.run(natpmp::map(&alice, ip("10.0.0.1"), &wished, PATIENCE)).expect("granted");
    assert_eq!(add(&mut home, &gateway, &alice, &[]), Err(729));
    let other = [("NewInternalPort", "5001"), ("NewExternalPort", "41000")];
    assert_eq!(act(&mut home, &gateway, &alice, "AddAnyPortMapping", &entry(&other)), Err(728));
}

#[test]
fn v2_only_ranges_are_deleted_and_listed() {
    let (mut home, gateway) = found(&[Control::Igd2]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    for port in ["40000", "40001", "40005"] {
        add(&mut home, &gateway, &alice, &[("NewExternalPort", port), ("NewInternalPort", port)]).expect("added");
    }
    add(&mut home, &gateway, &bob, &[("NewExternalPort", "40002"), ("NewInternalClient", "10.0.0.3")]).expect("added");
    let mut list = range("40000", "40004");
    list.push(("NewNumberOfPorts", "0".to_owned()));
    let listing = act(&mut home, &gateway, &alice, "GetListOfPortMappings", &list).expect("a list");
    let listing = Element::parse(listing.value("NewPortListing").expect("a list").as_bytes()).expect("a document");
    let ports: Vec<&str> = listing.children.iter().filter_map(|one| one.text_of("NewExternalPort")).collect();
    assert_eq!(ports, ["40000", "40001"], "one's own");
    assert_eq!(listing.children[0].text_of("NewDescription"), Some("test <1>"));
    let delete = |home: &mut Home, values: &[(&str, String)]| {
        act(home, &gateway, &alice, "DeletePortMappingRange", values).map(drop)
    };
    assert_eq!(delete(&mut home, &range("40004", "40000")), Err(733));
    assert_eq!(delete(&mut home, &range("40000", "40004")), Ok(()));
    assert_eq!(delete(&mut home, &range("40000", "40004")), Err(730));
    let mut all = range("40002", "40002");
    all[3].1 = "1".to_owned();
    assert_eq!(delete(&mut home, &all), Err(606), "another's");
    let left: Vec<u16> = home.mappings().iter().map(|one| one.external.port()).collect();
    assert_eq!(left, [40_005, 40_002]);
    list[0].1 = "1".to_owned();
    list[1].1 = "2".to_owned();
    assert_eq!(act(&mut home, &gateway, &alice, "GetListOfPortMappings", &list), Err(730));
}

#[test]
fn read_and_delete_by_index_and_by_key() {
    let (mut home, gateway) = found(&[Control::Igd1]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    add(&mut home, &gateway, &alice, &[]).expect("added");
    home.wait(seconds(100));
    home.forward("10.0.0.3:6000", 45_000);
    let index = |index: &str| vec![("NewPortMappingIndex", index.to_owned())];
    let first = act(&mut home, &gateway, &bob, "GetGenericPortMappingEntry", &index("0")).expect("an entry");
    let values: Vec<&str> = first.values.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, ["", "40000", "UDP", "5000", "10.0.0.2", "1", "test <1>", "3500"]);
    let second = act(&mut home, &gateway, &bob, "GetGenericPortMappingEntry", &index("1")).expect("an entry");
    assert_eq!(second.value("NewPortMappingDescription"), Some("by static"));
    assert_eq!(act(&mut home, &gateway, &bob, "GetGenericPortMappingEntry", &index("2")), Err(713));
    let specific = act(&mut home, &gateway, &bob, "GetSpecificPortMappingEntry", &key("40000")).expect("an entry");
    assert_eq!((specific.values.len(), specific.value("NewInternalPort")), (5, Some("5000")));
    assert_eq!(act(&mut home, &gateway, &bob, "GetSpecificPortMappingEntry", &key("40001")), Err(714));
    assert_eq!(act(&mut home, &gateway, &bob, "DeletePortMapping", &key("40000")), Err(714), "not bob's");
    assert_eq!(act(&mut home, &gateway, &bob, "DeletePortMapping", &key("45000")), Err(714), "a person's");
    act(&mut home, &gateway, &alice, "DeletePortMapping", &key("40000")).expect("deleted");
    assert_eq!(act(&mut home, &gateway, &alice, "DeletePortMapping", &key("40000")), Err(714));
    assert_eq!(home.mappings().len(), 1);
}

#[test]
fn ssdp_searches_are_answered_by_target_and_from_inside_alone() {
    let mut home = home(&[Control::Igd2]);
    let (alice, server) = (home.alice.clone(), home.server.clone());
    let search = |target: &str| {
        let fields = [
            ("HOST", "239.255.255.250:1900".to_owned()),
            ("MAN", "\"ssdp:discover\"".to_owned()),
            ("MX", "2".to_owned()),
            ("ST", target.to_owned()),
        ];
        http::head("M-SEARCH * HTTP/1.1", &fields)
    };
    for target in [
        "upnp:rootdevice",
        "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
        "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
        "urn:schemas-upnp-org:service:WANIPConnection:2",
    ] {
        let (from, answer) = home.ask_at(&alice, "239.255.255.250:1900", &search(target)).expect("an answer");
        let answer = http::Message::head(&answer).expect("a head");
        assert_eq!((from, answer.status, answer.field("st")), (at("10.0.0.1:1900"), 200, Some(target)));
        assert_eq!(answer.field("location"), Some("http://10.0.0.1:5000/rootDesc.xml"));
        assert!(answer.field("usn").is_some_and(|usn| usn.starts_with("uuid:") && usn.ends_with(target)));
    }
    assert_eq!(home.ask_at(&alice, "239.255.255.250:1900", &search("urn:schemas-upnp-org:device:Printer:1")), None);
    assert_eq!(home.ask_at(&alice, "239.255.255.250:1900", b"M-SEARCH * HTTP/1.1\r\n\r\n"), None);
    assert_eq!(home.ask_at(&server, "198.18.0.2:1900", &search("ssdp:all")), None);
    let (_, first) = home.ask_at(&alice, "239.255.255.250:1900", &search("ssdp:all")).expect("an answer");
    assert!(http::Message::head(&first).is_some());
}

#[test]
fn ssdp_notices_go_to_everybody_after_a_reboot() {
    let mut home = home(&[Control::Igd1]);
    let (alice, node) = (home.alice.clone(), home.node);
    let ear = home.run(alice.udp_bind(at("0.0.0.0:1900"))).expect("free");
    ear.join_multicast(ip("239.255.255.250"), ip("10.0.0.2")).expect("joined");
    home.wait(seconds(1));
    home.world.reboot(node).expect("a gateway");
    let told = home.run(async {
        let mut buffer = [0; 1500];
        let received = ear.recv_from(&mut buffer).await.expect("a notice");
        http::Message::head(&buffer[..received.length]).expect("a head")
    });
    assert_eq!((told.method.as_str(), told.field("nts")), ("NOTIFY", Some("ssdp:alive")));
}

#[test]
fn soap_the_description_leads_to_the_service_and_its_actions() {
    let (mut home, gateway) = found(&[Control::Igd2]);
    let alice = home.alice.clone();
    assert_eq!(gateway.service, "urn:schemas-upnp-org:service:WANIPConnection:2");
    let status = act(&mut home, &gateway, &alice, "GetStatusInfo", &[]).expect("a status");
    assert_eq!(status.value("NewConnectionStatus"), Some("Connected"));
    assert_eq!(home.run(client::external_address(&alice, &gateway, PATIENCE)), Ok(ip("198.18.0.2")));
    let service = get(&mut home, &alice, "/WANIPCn.xml");
    let actions = Element::parse(&service.body).expect("a document").all("action").len();
    assert_eq!((service.status, actions), (200, 11));
    assert_eq!(get(&mut home, &alice, "/nothing").status, 404);
}

/// What the gateway's web server says of a path.
fn get(home: &mut Home, host: &VirtualHost, path: &str) -> http::Message {
    home.run(async {
        let mut stream = host.tcp_connect(at("10.0.0.1:5000"), TcpOptions::default()).await.expect("open");
        let fields = [("Host", "10.0.0.1:5000".to_owned())];
        http::write(&mut stream, &format!("GET {path} HTTP/1.1"), &fields, b"").await.expect("written");
        http::read(&mut stream).await.expect("an answer")
    })
}

#[test]
fn soap_nonsense_is_answered_or_closed_and_harms_nobody() {
    let (mut home, gateway) = found(&[Control::Igd1]);
    let alice = home.alice.clone();
    for nonsense in ["GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", "\0\0\0\0", "POST /ctl/IPConn HTTP/1.1\r\n\r\n"] {
        home.run(async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut stream = alice.tcp_connect(at("10.0.0.1:5000"), TcpOptions::default()).await.expect("open");
            stream.write_all(nonsense.as_bytes()).await.expect("written");
            let _ = stream.read(&mut [0; 2000]).await;
        });
    }
    assert_eq!(add(&mut home, &gateway, &alice, &[]), Ok(()));
}

#[test]
fn soap_a_slow_box_is_not_waited_for_for_ever() {
    let faults = Faults { delay: seconds(30), ..Faults::default() };
    let mut home = home_with(symmetric(), Config { faults, ..Config::new([Control::Igd1]) });
    let alice = home.alice.clone();
    let result = home.run(client::find(&alice, ip("10.0.0.2"), seconds(10)));
    assert!(matches!(result, Err(Failure::Probe(natbox_probes::ProbeError::Silence { .. }))), "{result:?}");
    home.run(client::find(&alice, ip("10.0.0.2"), seconds(40))).expect("a gateway, at last");
}

#[test]
fn r6970_refusals_of_the_nat_have_the_codes_of_the_service() {
    let (mut home, gateway) = found(&[Control::Igd1, Control::Pcp]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    assert!(home.gateway.external_address(false).is_some());
    add(&mut home, &gateway, &alice, &[]).expect("added");
    assert_eq!(add(&mut home, &gateway, &bob, &[("NewInternalClient", "10.0.0.3")]), Err(718), "taken: 11 -> 718");
    let mut behavior = symmetric();
    behavior.quota.ports = Some(1);
    let mut home = home_with(behavior, Config::new([Control::Igd1]));
    let alice = home.alice.clone();
    let gateway = home.run(client::find(&alice, ip("10.0.0.2"), PATIENCE)).expect("a gateway");
    add(&mut home, &gateway, &alice, &[]).expect("added");
    let more = [("NewInternalPort", "5001"), ("NewExternalPort", "41000")];
    assert_eq!(add(&mut home, &gateway, &alice, &more), Err(501), "a quota: 10 -> 501");
}

#[test]
fn a_client_of_version_1_tries_the_ports_above_one_that_is_taken() {
    let (mut home, gateway) = found(&[Control::Igd1]);
    let (alice, bob) = (home.alice.clone(), home.bob.clone());
    add(&mut home, &gateway, &bob, &[("NewInternalClient", "10.0.0.3"), ("NewExternalPort", "5000")]).expect("added");
    let granted = home.run(client::map(&alice, &gateway, &wish(5000), PATIENCE)).expect("granted");
    assert_eq!(granted.external, at("198.18.0.2:5001"));
    home.run(client::unmap(&alice, &gateway, &wish(5000), 5001, PATIENCE)).expect("given up");
    assert_eq!(home.mappings().len(), 1);
}
