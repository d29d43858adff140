//! Datagrams for tests/bench/live, which builds this with plain rustc; std alone.
//!
//! `flood ENDPOINT BYTES SECONDS` sends as fast as it can; `sink PORT` says how many a second arrived, from the first to
//! the last, once nothing has come for a while. `echo PORT` sends back what comes; `ping ENDPOINT SECONDS` asks it, one
//! question at a time, and says how many microseconds half of the answers took at most, and 99 of 100; then it says goodbye,
//! and the echo ends. `nap MICROSECONDS SECONDS` sleeps for so long again and again, and says how late it was woken, likewise.
//! Seconds may have a fraction.

use std::io::Write;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Nothing more is expected after so long a silence.
const SILENCE: Duration = Duration::from_millis(400);
/// Somebody should have sent something by then.
const PATIENCE: Duration = Duration::from_secs(10);
const PR_SET_TIMERSLACK: i32 = 29;

unsafe extern "C" {
    fn prctl(option: i32, ...) -> i32;
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["flood", to, bytes, seconds] => flood(to, bytes.parse().expect("a number"), time(seconds)),
        ["sink", port] => sink(port),
        ["echo", port] => echo(port),
        ["ping", to, seconds] => ping(to, time(seconds)),
        ["nap", micros, seconds] => nap(Duration::from_micros(micros.parse().expect("a number")), time(seconds)),
        _ => panic!("flood ENDPOINT BYTES SECONDS, sink PORT, echo PORT, ping ENDPOINT SECONDS or nap MICROSECONDS SECONDS"),
    }
}

fn time(seconds: &str) -> Duration {
    Duration::from_secs_f64(seconds.parse().expect("a number"))
}

fn bind(port: &str) -> UdpSocket {
    let socket = UdpSocket::bind(format!("0.0.0.0:{port}")).expect("a socket");
    println!("ready");
    std::io::stdout().flush().expect("somebody who reads");
    socket
}

fn connect(to: &str) -> UdpSocket {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect(to).expect("a route");
    socket
}

fn flood(to: &str, bytes: usize, time: Duration) {
    let (socket, datagram, start) = (connect(to), vec![0; bytes], Instant::now());
    let mut sent = 0_u64;
    while start.elapsed() < time {
        for _ in 0..64 {
            sent += u64::from(socket.send(&datagram).is_ok());
        }
    }
    println!("{}", (sent as f64 / start.elapsed().as_secs_f64()) as u64);
}

fn sink(port: &str) {
    let socket = bind(port);
    let mut buffer = [0; 65_536];
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket.recv(&mut buffer).expect("a datagram");
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let (start, mut received) = (Instant::now(), 0_u64);
    let mut last = start;
    while socket.recv(&mut buffer).is_ok() {
        received += 1;
        // The clock is asked rarely: it is not what is measured.
        if received % 64 == 0 {
            last = Instant::now();
        }
    }
    let counted = received - received % 64;
    println!("{}", (counted as f64 / (last - start).as_secs_f64().max(1e-6)) as u64);
}

fn echo(port: &str) {
    let socket = bind(port);
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = [0; 65_536];
    while let Ok((length @ 1.., from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
}

fn ping(to: &str, time: Duration) {
    let socket = connect(to);
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
    let ask = || {
        let start = Instant::now();
        socket.send(&[0; 64]).ok()?;
        socket.recv(&mut [0; 64]).ok()?;
        Some(start.elapsed())
    };
    // The first ones make mappings and learn addresses.
    for _ in 0..20 {
        ask();
    }
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        times.extend(ask());
    }
    for _ in 0..5 {
        let _ = socket.send(&[]);
    }
    tell(times);
}

fn nap(asked: Duration, time: Duration) {
    // SAFETY: numbers. To the microsecond, and not when it suits the kernel.
    unsafe { prctl(PR_SET_TIMERSLACK, 1_usize) };
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed() < time {
        let from = Instant::now();
        std::thread::sleep(asked);
        times.push(from.elapsed().saturating_sub(asked));
    }
    tell(times);
}

fn tell(mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6);
    println!("{:.1} {:.1}", at(50), at(99));
}
