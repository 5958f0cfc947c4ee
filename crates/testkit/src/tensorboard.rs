//! Reads TensorBoard event files, written from the format's description without the writer's code.

use std::fs;
use std::path::{Path, PathBuf};

/// An event with its scalars.
pub struct Event {
    /// The step of training.
    pub step: u64,
    /// Tags and values.
    pub scalars: Vec<(String, f32)>,
}

/// The events of the one event file in `dir`, without the version record. Panics on a wrong
/// checksum or version.
pub fn events(dir: &Path) -> Vec<Event> {
    let mut files = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_events = |path: &PathBuf| path.to_string_lossy().contains(".tfevents.");
    let bytes = fs::read(files.find(is_events).expect("an event file")).unwrap();
    let (mut rest, mut records) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let n = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(rest[8..12], masked_crc32c(&rest[..8]));
        assert_eq!(rest[12 + n..16 + n], masked_crc32c(&rest[12..12 + n]));
        records.push(fields(&rest[12..12 + n]));
        rest = &rest[16 + n..];
    }
    let first = records.remove(0);
    assert_eq!(
        (first[0].0, first[1].0, first[1].1.as_slice()),
        (1, 3, &b"brain.Event:2"[..])
    );
    let scalar = |value: &[u8]| {
        let parts = fields(value);
        let number = f32::from_le_bytes(parts[1].1[..].try_into().unwrap());
        (String::from_utf8(parts[0].1.clone()).unwrap(), number)
    };
    let event = |record: Vec<(u64, Vec<u8>)>| Event {
        step: u64::from_le_bytes(record[1].1[..].try_into().unwrap()),
        scalars: fields(&record[2].1)
            .iter()
            .map(|(_, value)| scalar(value))
            .collect(),
    };
    records.into_iter().map(event).collect()
}

/// The fields of a protobuf message: number and bytes. A varint is 8 bytes, little-endian.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let n = match key & 7 {
            0 => {
                out.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            2 => varint(&mut bytes) as usize,
            5 => 4,
            wire => panic!("wire type {wire}"),
        };
        out.push((key >> 3, bytes[..n].to_vec()));
        bytes = &bytes[n..];
    }
    out
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let n = 1 + bytes.iter().position(|b| b & 0x80 == 0).unwrap();
    let (number, rest) = bytes.split_at(n);
    *bytes = rest;
    number
        .iter()
        .rev()
        .fold(0, |sum, b| sum << 7 | u64::from(b & 0x7f))
}

/// TensorFlow's masked CRC-32C, computed bit by bit.
pub fn masked_crc32c(bytes: &[u8]) -> [u8; 4] {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    ((!crc).rotate_right(15))
        .wrapping_add(0xa282_ead8)
        .to_le_bytes()
}
