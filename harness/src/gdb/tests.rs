//! The client against a stub of the tests' own, which answers as QEMU's does, or does not.

use super::*;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdStream;

/// What the stub does at a request.
enum Then {
    /// Takes it and answers.
    Answer(&'static str),
    /// Takes it, and says nothing more.
    Take,
    /// Sends these bytes as they are.
    Raw(&'static [u8]),
    /// Ends the connection.
    End,
}

/// How long the tests' client waits: the stub answers at once or never.
const SOON: Duration = Duration::from_millis(300);

/// A client whose stub serves these requests, in this order, after those that attach.
async fn client(script: Vec<(&'static str, Then)>) -> Attached {
    Attached::over(stub(with_attach(script)), SOON).await.unwrap()
}

fn with_attach(script: Vec<(&'static str, Then)>) -> Vec<(&'static str, Then)> {
    let mut all = vec![("?", Then::Answer("T05thread:01;")), ("Qqemu.PhyMemMode:1", Then::Answer("OK"))];
    all.extend(script);
    all
}

fn stub(script: Vec<(&'static str, Then)>) -> UnixStream {
    let (client, mut server) = StdStream::pair().unwrap();
    std::thread::spawn(move || {
        let mut from = server.try_clone().unwrap().bytes().map_while(Result::ok);
        for (awaited, then) in script {
            // Acknowledgements of the client come before its next request.
            let payload: Vec<u8> = from
                .by_ref()
                .skip_while(|&byte| byte != b'$')
                .skip(1)
                .take_while(|&byte| byte != b'#')
                .collect();
            assert_eq!(String::from_utf8_lossy(&payload), awaited);
            match then {
                Then::Answer(answer) => {
                    server.write_all(b"+").unwrap();
                    server.write_all(&packet::encode(answer)).unwrap();
                }
                Then::Take => server.write_all(b"+").unwrap(),
                Then::Raw(bytes) => server.write_all(bytes).unwrap(),
                Then::End => return,
            }
        }
        // Until the client has seen all of it.
        from.for_each(drop);
    });
    client.set_nonblocking(true).unwrap();
    UnixStream::from_std(client).unwrap()
}

/// Bug: memory is read by the guest's virtual addresses, because the stub was never told otherwise, or does not know how.
#[tokio::test]
async fn only_physical_addresses_will_do() {
    let script = vec![("?", Then::Answer("T05thread:01;")), ("Qqemu.PhyMemMode:1", Then::Answer(""))];
    let error = Attached::over(stub(script), SOON).await.unwrap_err();
    assert!(error.to_string().contains("PhyMemMode:1: QEMU's stub does not know it"), "{error}");
}

/// Bug: a long read asks for more than a packet holds, or its pieces do not follow each other.
#[tokio::test]
async fn a_long_read_comes_in_pieces() {
    let zeros: &'static str = Box::leak("00".repeat(1024).into_boxed_str());
    let script = vec![("m8aff5000,400", Then::Answer(zeros)), ("m8aff5400,2", Then::Answer("0102"))];
    let bytes = client(script).await.read(0x8aff_5000, 1026).await.unwrap();
    assert_eq!((bytes.len(), &bytes[1022..]), (1026, &[0, 0, 1, 2][..]));
}

/// Bug: fewer bytes than were asked for count as a read.
#[tokio::test]
async fn a_short_read_is_an_error() {
    let error = client(vec![("m1000,4", Then::Answer("0001"))]).await.read(0x1000, 4).await.unwrap_err();
    assert!(error.to_string().contains("m1000,4: 2 bytes"), "{error}");
    let error = client(vec![("m1000,4", Then::Answer("E14"))]).await.read(0x1000, 4).await.unwrap_err();
    assert!(error.to_string().contains("error 0x14"), "{error}");
}

/// Bug: a write where there is no RAM is taken for done.
#[tokio::test]
async fn a_write_is_read_back() {
    let script = |read| vec![("M1000,2:beef", Then::Answer("OK")), ("m1000,2", Then::Answer(read))];
    client(script("beef")).await.write(0x1000, &[0xbe, 0xef]).await.unwrap();
    let error = client(script("beee")).await.write(0x1000, &[0xbe, 0xef]).await.unwrap_err();
    assert!(error.to_string().contains("reads back otherwise"), "{error}");
}

/// Bug: a breakpoint that QEMU did not set is waited for; or the wrong kind is asked for (0 is one in software, which would write
/// into the code that a digest is taken of).
#[tokio::test]
async fn a_breakpoint_is_set_waited_for_and_taken_away() {
    let general = (0..16).map(|number| format!("{number:02x}00000000000000")).collect::<String>();
    let registers: &'static str = Box::leak(format!("{general}0050ff8a0000000046000000").into_boxed_str());
    let script = vec![
        ("Z1,8aff5000,1", Then::Answer("OK")),
        ("c", Then::Raw(b"+$T05thread:01;#07")),
        ("g", Then::Answer(registers)),
        ("z1,8aff5000,1", Then::Answer("OK")),
        ("Z1,1000,1", Then::Answer("E22")),
    ];
    let mut gdb = client(script).await;
    gdb.break_at(0x8aff_5000).await.unwrap();
    let (mut gdb, stop, ran) = gdb.go().await.unwrap().stopped(SOON).await.unwrap();
    assert_eq!(stop, Stop::Breakpoint);
    assert!(ran < SOON);
    assert_eq!(gdb.instruction_pointer().await.unwrap(), 0x8aff_5000);
    gdb.unbreak(0x8aff_5000).await.unwrap();
    assert!(gdb.break_at(0x1000).await.unwrap_err().to_string().contains("Z1,1000,1: error 0x22"));
}

/// Bug: a stub, or a machine, that never answers keeps the rig for ever.
#[tokio::test]
async fn everything_has_a_deadline() {
    let mut silent = client(vec![("m0,1", Then::Take)]).await;
    assert!(matches!(silent.read(0, 1).await, Err(GdbError::Late { .. })));
    let going = client(vec![("c", Then::Take)]).await.go().await.unwrap();
    assert!(matches!(going.stopped(SOON).await, Err(GdbError::Late { .. })));
    let mut deaf = client(vec![("m0,1", Then::Raw(b"---"))]).await;
    assert!(deaf.read(0, 1).await.is_err());
}

/// Bug: a QEMU that ends, or talks nonsense, is waited for, or makes the rig panic.
#[tokio::test]
async fn an_end_and_nonsense_are_told() {
    let error = client(vec![("m0,1", Then::End)]).await.read(0, 1).await.unwrap_err();
    assert!(matches!(error, GdbError::Connection { .. }), "{error}");
    for (said, told) in
        [(&b"+$00#00"[..], "add up to"), (b"+hello", "between packets"), (b"+$xyz#6b", "none")]
    {
        let error = client(vec![("m0,1", Then::Raw(said))]).await.read(0, 1).await.unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

/// Bug: a folder with a blank or a comma in its name makes the monitor take half of the path.
#[test]
fn the_socket_s_path_is_quoted() {
    let command = start_command(Path::new("/tmp/a b,c\"d/gdb")).unwrap();
    assert_eq!(command, "gdbserver \"unix:/tmp/a b,,c\\\"d/gdb\"");
}
