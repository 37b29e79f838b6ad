//! The wire form is an interface between two builds of this crate: these tests pin it.

use super::*;
use alloc::string::ToString;
use alloc::vec;

#[test]
fn report_has_the_documented_form() {
    let report = Report {
        seq: 2,
        kernel: Side::First,
        message: Message::Armed { planted: vec![Planted { id: 1, address: 0x1_2345_6000 }] },
    };
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(
        text,
        r#"{"seq":2,"kernel":"first","message":{"type":"armed","planted":[{"id":1,"address":4886716416}]}}"#
    );
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn order_round_trips() {
    let order = Order::Load(LoadOrder {
        plants: vec![Plant { id: 0, bytes: HexBytes(vec![0x00, 0xff, 0x1a]), place: Place::Above4G }],
        log_line: "rig 0123".to_string(),
        argv: vec!["/bin/kexec-load".to_string(), "-p".to_string()],
        timeout_seconds: 30,
        circumstances: Circumstances::None,
        arm_unloaded: false,
        sysrq: false,
    });
    let text = serde_json::to_string(&order).unwrap();
    assert!(text.contains(r#""bytes":"00ff1a""#), "{text}");
    assert!(!text.contains("circumstances"), "recorded orders stay as they are: {text}");
    assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
}

#[test]
fn odd_or_foreign_digits_are_rejected() {
    for bad in [r#""0""#, r#""0g""#, r#""+1""#, r#""é""#, "7"] {
        assert!(serde_json::from_str::<HexBytes>(bad).is_err(), "{bad}");
    }
}

#[test]
fn vmcore_states_are_told_apart() {
    let absent = serde_json::to_string(&Message::Vmcore(VmcoreReport::Absent)).unwrap();
    assert_eq!(absent, r#"{"type":"vmcore","state":"absent"}"#);
    assert_eq!(serde_json::from_str::<Message>(&absent).unwrap(), Message::Vmcore(VmcoreReport::Absent));
}

/// Catches a reader that is asked for in every order: recorded orders of cells without one stay as they are.
#[test]
fn a_reader_shows_only_where_there_is_one() {
    let plain = serde_json::to_string(&Order::Read { reads: vec![], reader: None }).unwrap();
    assert_eq!(plain, r#"{"type":"read","reads":[]}"#);
    let reader = ReaderOrder { argv: vec!["/sbin/reader".to_string()], timeout_seconds: 5 };
    let order = Order::Read { reads: vec![], reader: Some(reader) };
    let text = serde_json::to_string(&order).unwrap();
    assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), order);
}

/// Bug: an agent that says an impossible range makes whoever counts its bytes overflow.
#[test]
fn a_range_ends_where_it_should() {
    let read = |text: &str| serde_json::from_str::<PhysRange>(text);
    let whole = PhysRange { start: 0x1000, end: u64::MAX };
    assert_eq!(read(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
    assert_eq!(read(r#"{"start":7,"end":7}"#).unwrap(), PhysRange { start: 7, end: 7 });
    assert!(read(r#"{"start":8,"end":7}"#).unwrap_err().to_string().contains("ends before it begins"));
}

/// Catches circumstances that are named otherwise in scenarios than in orders.
#[test]
fn circumstances_have_one_name() {
    for circumstances in Circumstances::ALL {
        assert_eq!(serde_json::to_value(circumstances).unwrap(), circumstances.name());
        assert_eq!(Circumstances::by_name(circumstances.name()), Some(circumstances));
    }
}
