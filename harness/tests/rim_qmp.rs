//! The QMP client against a scripted server: every way in which a connection was seen to go wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the scripted server's own helpers are tests as well")]

use harness::qmp::{Qmp, QmpError, Unasked};
use qapi::qmp;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;

const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"#;
const SOON: Duration = Duration::from_secs(5);
const AT_ONCE: Duration = Duration::from_millis(50);

/// The server's end of a connection.
struct Server {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Server {
    async fn say(&mut self, line: &str) {
        self.write.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    /// Takes a command; gives its name and id.
    async fn take(&mut self) -> (String, u64) {
        let line = self.lines.next_line().await.unwrap().expect("the client ended the connection");
        let command: serde_json::Value = serde_json::from_str(&line).unwrap();
        (command["execute"].as_str().unwrap().to_owned(), command["id"].as_u64().unwrap())
    }

    async fn answer(&mut self, id: u64, value: &str) {
        self.say(&format!(r#"{{"return": {value}, "id": {id}}}"#)).await;
    }
}

fn pair() -> (UnixStream, Server) {
    let (client, server) = UnixStream::pair().unwrap();
    let (read, write) = server.into_split();
    (client, Server { lines: BufReader::new(read).lines(), write })
}

/// A negotiated connection.
async fn connected() -> (Qmp, UnboundedReceiver<Unasked>, Server) {
    let (client, mut server) = pair();
    let serve = async {
        server.say(GREETING).await;
        let (name, id) = server.take().await;
        assert_eq!(name, "qmp_capabilities");
        server.answer(id, "{}").await;
    };
    let (negotiated, ()) = tokio::join!(Qmp::negotiate(client, SOON), serve);
    let (qmp, events) = negotiated.unwrap();
    (qmp, events, server)
}

async fn event_name(events: &mut UnboundedReceiver<Unasked>) -> String {
    match events.recv().await {
        Some(Unasked::Event(_, event)) => event.name,
        other => panic!("no event: {other:?}"),
    }
}

/// Bug: a second client's connection, which QEMU accepts and never greets, is awaited for ever.
#[tokio::test]
async fn no_greeting() {
    let (client, _server) = pair();
    let error = Qmp::negotiate(client, AT_ONCE).await.unwrap_err();
    assert!(matches!(error, QmpError::NoGreeting { .. }), "{error}");
}

/// Bug: QEMU that ends during the greeting is waited for until the deadline, or is a panic.
#[tokio::test]
async fn end_before_the_greeting() {
    let (client, server) = pair();
    drop(server);
    let negotiated = tokio::time::timeout(SOON, Qmp::negotiate(client, SOON * 10)).await;
    assert!(matches!(negotiated.unwrap(), Err(QmpError::Closed { .. })));
}

/// Bug: "execute, then wait for its event" never sees the event, which comes before the reply.
#[tokio::test]
async fn the_event_before_its_reply_is_kept() {
    let (qmp, mut events, mut server) = connected().await;
    let serve = async {
        let (_, id) = server.take().await;
        server.say(r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}"#).await;
        server.answer(id, "{}").await;
    };
    let (result, ()) = tokio::join!(qmp.execute(qmp::cont {}), serve);
    result.unwrap();
    assert_eq!(event_name(&mut events).await, "RESUME");
}

/// Bug: one event that the generated types do not know ends the connection, as it ends qapi's own stream.
#[tokio::test]
async fn unknown_events_and_members_are_evidence() {
    let (qmp, mut events, mut server) = connected().await;
    let serve = async {
        server.say(r#"{"event": "FROM_THE_FUTURE", "data": {"x": [1]}, "timestamp": 5, "more": null}"#).await;
        let (_, id) = server.take().await;
        server.answer(id, r#"{"status": "running", "running": true, "singlestep": false, "new": 1}"#).await;
    };
    let (status, ()) = tokio::join!(qmp.execute(qmp::query_status {}), serve);
    assert!(status.unwrap().running);
    match events.recv().await {
        Some(Unasked::Event(_, event)) => {
            assert_eq!((event.name.as_str(), &event.data["x"][0]), ("FROM_THE_FUTURE", &1.into()));
        }
        other => panic!("no event: {other:?}"),
    }
}

/// Bug: a reply that comes after its deadline is taken for the next command's, or blocks it for ever.
#[tokio::test]
async fn after_a_late_reply_the_connection_is_dead() {
    let (qmp, _events, mut server) = connected().await;
    let error = qmp.execute_within(qmp::query_status {}, AT_ONCE).await.unwrap_err();
    assert!(matches!(error, QmpError::Late { command: "query-status", .. }), "{error}");
    let (_, id) = server.take().await;
    server.answer(id, r#"{"status": "running", "running": true, "singlestep": false}"#).await;
    let error = qmp.execute(qmp::inject_nmi {}).await.unwrap_err();
    assert!(error.to_string().contains("query-status had no reply"), "{error}");
    let sent = tokio::time::timeout(AT_ONCE, server.lines.next_line()).await;
    assert!(sent.is_err(), "a command was sent on a dead connection: {sent:?}");
}

/// Bug: a caller that is cancelled (its guest's task ends) kills the connection, or panics at the next command.
#[tokio::test]
async fn callers_may_be_cancelled() {
    let (qmp, _events, mut server) = connected().await;
    let cancelled = tokio::time::timeout(AT_ONCE, qmp.execute(qmp::query_status {})).await;
    assert!(cancelled.is_err());
    let serve = async {
        let (_, first) = server.take().await;
        let (name, second) = server.take().await;
        assert_eq!(name, "human-monitor-command");
        server.answer(first, r#"{"status": "running", "running": true, "singlestep": false}"#).await;
        server.answer(second, r#""RIP=0""#).await;
    };
    let command = qmp::human_monitor_command { command_line: "info registers -a".into(), cpu_index: None };
    let (text, ()) = tokio::join!(qmp.execute(command), serve);
    assert_eq!(text.unwrap(), "RIP=0");
}

/// Bug: one slow command holds all others up, since no ids are sent.
#[tokio::test]
async fn replies_are_matched_by_id() {
    let (qmp, _events, mut server) = connected().await;
    let monitor =
        |line: &str| qmp.execute(qmp::human_monitor_command { command_line: line.into(), cpu_index: None });
    let serve = async {
        let (_, first) = server.take().await;
        let (_, second) = server.take().await;
        server.answer(second, r#""second""#).await;
        server.answer(first, r#""first""#).await;
    };
    let (first, second, ()) = tokio::join!(monitor("a"), monitor("b"), serve);
    assert_eq!((first.unwrap(), second.unwrap()), ("first".into(), "second".into()));
}

/// Bug: garbage on the socket ends the connection or the process.
#[tokio::test]
async fn garbage_is_passed_over() {
    let (qmp, _events, mut server) = connected().await;
    let serve = async {
        let (_, id) = server.take().await;
        let garbage = b"\xff\xfe not json\n\n[1,2]\n{\"return\": {}, \"id\": \"odd\"}\n";
        server.write.write_all(garbage).await.unwrap();
        server.answer(id, "{}").await;
    };
    let (result, ()) = tokio::join!(qmp.execute(qmp::inject_nmi {}), serve);
    result.unwrap();
    assert!(qmp.log().iter().any(|line| line.text.contains("not json")), "garbage is no evidence");
}

/// Bug: QEMU's death is not noticed until a deadline, or its last events are lost.
#[tokio::test]
async fn the_end_is_told_after_the_last_event() {
    let (qmp, mut events, mut server) = connected().await;
    let serve = async {
        server.take().await;
        server.say(r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#).await;
        drop(server);
    };
    let (result, ()) = tokio::join!(qmp.execute(qmp::inject_nmi {}), serve);
    assert!(matches!(result, Err(QmpError::Closed { .. })), "{result:?}");
    assert_eq!(event_name(&mut events).await, "SHUTDOWN");
    assert!(matches!(events.recv().await, Some(Unasked::Closed(_))));
}

/// Bug: QEMU's refusal is taken for success, or its words are lost.
#[tokio::test]
async fn refusals_keep_their_words() {
    let (qmp, _events, mut server) = connected().await;
    let serve = async {
        let (_, id) = server.take().await;
        server
            .say(&format!(r#"{{"id": {id}, "error": {{"class": "NewClass", "desc": "no such thing"}}}}"#))
            .await;
    };
    let (result, ()) = tokio::join!(qmp.execute(qmp::cont {}), serve);
    assert_eq!(result.unwrap_err().to_string(), "QMP command cont: NewClass: no such thing");
}

/// Bug: a QEMU that repeats itself without end fills the rig's memory, with events or with the log of them; or, in a queue that is
/// bounded, both sides wait for each other; or the reply behind the flood, or an event of another name, is lost in it.
#[tokio::test]
async fn a_flood_of_events_is_bounded() {
    let (qmp, mut events, mut server) = connected().await;
    let padding = "x".repeat(1000);
    let serve = async {
        let (_, id) = server.take().await;
        for number in 0..20_000 {
            server.say(&format!(r#"{{"event": "RTC_CHANGE", "data": {{"{padding}": {number}}}}}"#)).await;
        }
        server.say(r#"{"event": "SHUTDOWN", "data": {"guest": true}}"#).await;
        server.answer(id, "{}").await;
    };
    let (result, ()) = tokio::join!(qmp.execute_within(qmp::cont {}, SOON * 6), serve);
    result.unwrap();
    drop(server);
    let mut names = Vec::new();
    while let Some(Unasked::Event(_, event)) = events.recv().await {
        names.push(event.name);
    }
    assert_eq!((names.len(), names.last().map(String::as_str)), (257, Some("SHUTDOWN")));
    let kept: usize = qmp.log().iter().map(|line| line.text.len()).sum();
    assert!(kept <= 16 << 20, "{kept} bytes");
    let told = qmp.not_kept().unwrap();
    assert!(told.contains("19744 repeated events were left out"), "{told}");
}
