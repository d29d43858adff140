//! Whole programs behind boxes that change what packets carry.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use futures::future::join;
use natbox_host::{Host, TcpListener, TcpOptions};
use natbox_nat::Behavior;
use natbox_nat::behavior::{Filtering, GenericAlg, Switch, TcpWindow};
use natbox_world::{LinkConfig, VirtualHost};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::*;

const CONTROL: &str = "198.18.0.9:21";

fn strict(change: impl FnOnce(&mut Behavior)) -> Arc<Behavior> {
    let mut behavior = Behavior { filtering: Filtering::AddressAndPortDependent.into(), ..Behavior::default() };
    change(&mut behavior);
    Arc::new(behavior)
}

/// A link that loses, repeats and reorders.
fn lossy() -> LinkConfig {
    LinkConfig { loss: 0.05, duplicate: 0.05, reorder: 0.1, jitter: MS * 5, ..link(5) }
}

/// The client of an active FTP session: asks for `files` files, each on a data connection of its own.
async fn client(host: VirtualHost, files: u16) -> Vec<Vec<u8>> {
    let control = host.tcp_connect(endpoint(CONTROL), TcpOptions::default()).await.expect("a server");
    let mut control = BufReader::new(control);
    let mut got = Vec::new();
    for file in 0..files {
        let port = 6000 + file;
        let options = TcpOptions::default();
        let listener = host.tcp_listen(SocketAddr::new(ip("10.0.0.2"), port), options).await.expect("a free port");
        let command = format!("PORT 10,0,0,2,{},{}\r\nRETR {file}\r\n", port >> 8, port & 0xFF);
        let wait = async {
            let mut stream = listener.accept().await.expect("the data connection");
            let mut data = Vec::new();
            stream.read_to_end(&mut data).await.expect("the file");
            data
        };
        let talk = async {
            control.write_all(command.as_bytes()).await.expect("sent");
            control.flush().await.expect("sent");
            let mut answer = String::new();
            control.read_line(&mut answer).await.expect("an answer");
            assert_eq!(answer, format!("226 {file}\r\n"));
        };
        got.push(join(wait, talk).await.0);
    }
    got
}

/// Its server. Tells what it was asked for.
async fn server(host: VirtualHost, files: u16) -> String {
    let listener = host.tcp_listen(endpoint(CONTROL), TcpOptions::default()).await.expect("a free port");
    let mut control = BufReader::new(listener.accept().await.expect("a client"));
    let mut heard = String::new();
    for _ in 0..files {
        let mut lines = String::new();
        control.read_line(&mut lines).await.expect("PORT");
        let numbers: Vec<u16> =
            lines.trim_end()["PORT ".len()..].split(',').map(|one| one.parse().expect("a number")).collect();
        let [a, b, c, d, high, low] = numbers[..] else { panic!("{lines}") };
        let address = Ipv4Addr::new(a as u8, b as u8, c as u8, d as u8);
        let data = SocketAddr::V4(SocketAddrV4::new(address, high * 256 + low));
        control.read_line(&mut lines).await.expect("RETR");
        let name = lines.trim_end().rsplit(' ').next().expect("a name").to_owned();
        let mut stream = host.tcp_connect(data, TcpOptions::default()).await.expect("the client waits");
        stream.write_all(name.repeat(1000).as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("sent");
        control.write_all(format!("226 {name}\r\n").as_bytes()).await.expect("sent");
        control.flush().await.expect("sent");
        heard.push_str(&lines);
    }
    heard
}

#[test]
fn an_active_ftp_client_gets_its_files_through_a_nat_that_knows_ftp_whatever_links_do() {
    let bad = Links { alice: lossy(), home: lossy(), server: lossy() };
    let off = TcpWindow::Off;
    for (seed, links, window) in [(1, Links::default(), off), (2, bad.clone(), off), (3, bad, TcpWindow::Strict)] {
        let behavior = strict(|behavior| {
            behavior.alg.ftp = Switch::On;
            behavior.tcp_window = window;
        });
        let mut home = home(seed, links, behavior);
        let (here, there) = (home.host("alice"), home.host("server"));
        let (got, heard) = home.world.run_until(join(client(here, 12), server(there, 12))).expect("no stall");
        let expected: Vec<Vec<u8>> = (0..12).map(|file| file.to_string().repeat(1000).into_bytes()).collect();
        assert_eq!(got, expected);
        assert!(!heard.contains("10,0,0,2") && heard.matches("PORT 198,18,0,2,").count() == 12, "{heard}");
    }
}

#[test]
fn text_that_changes_its_length_goes_both_ways_whole_whatever_links_do() {
    let links = Links { alice: lossy(), home: lossy(), server: lossy() };
    let mut home = home(3, links, strict(|behavior| behavior.alg.generic = GenericAlg::RewriteText));
    let (here, there) = (home.host("alice"), home.host("server"));
    let (alice, home_says) = ("10.0.0.2 says hello\n".repeat(40), "198.18.0.2 is called\n".repeat(40));
    let (told, heard) = (alice.replace("10.0.0.2", "198.18.0.2"), home_says.replace("198.18.0.2", "10.0.0.2"));
    let calling = async {
        let stream = here.tcp_connect(endpoint("198.18.0.9:80"), TcpOptions::default()).await.expect("a server");
        talk(stream, &alice).await
    };
    let answering = async {
        let listener = there.tcp_listen(endpoint("198.18.0.9:80"), TcpOptions::default()).await.expect("a free port");
        talk(listener.accept().await.expect("a client"), &home_says).await
    };
    let (at_home, outside) = home.world.run_until(join(calling, answering)).expect("no stall");
    // A line in which a segment ends may keep an address as it was.
    let differs = |got: &str, expected: &str, untouched: &str| {
        let lines = got.lines().zip(expected.lines().zip(untouched.lines()));
        lines.filter(|(got, (expected, untouched))| got != expected && got != untouched).count()
    };
    assert_eq!((at_home.lines().count(), outside.lines().count()), (40, 40));
    assert_eq!((differs(&at_home, &heard, &home_says), differs(&outside, &told, &alice)), (0, 0));
    assert!(at_home.contains("10.0.0.2 is called") && outside.contains("198.18.0.2 says hello"));
}

/// Says something, line by line, and hears what the other says.
async fn talk(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, said: &str) -> String {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let saying = async {
        for line in said.split_inclusive('\n') {
            writer.write_all(line.as_bytes()).await.expect("sent");
            writer.flush().await.expect("sent");
        }
        writer.shutdown().await.expect("sent");
    };
    let mut heard = String::new();
    let (_, read) = join(saying, reader.read_to_string(&mut heard)).await;
    read.expect("heard to the end");
    heard
}
