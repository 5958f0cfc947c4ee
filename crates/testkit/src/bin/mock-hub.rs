//! The mock hub as a process: `mock-hub ROOT [ADDRESS]` serves `ROOT/datasets/ORG/NAME/REVISION/…`
//! and `ROOT/models/…`, prints its URL, and stops when its standard input ends.

use std::io::{Read, Write};
use testkit::MockHub;

fn main() {
    let mut args = std::env::args().skip(1);
    let root = args.next().expect("usage: mock-hub ROOT [ADDRESS]");
    let hub = MockHub::at(&args.next().unwrap_or_else(|| "127.0.0.1:0".into()));
    hub.add_all(root.as_ref()).expect("ROOT can be read");
    hub.use_store();
    let mut out = std::io::stdout();
    writeln!(out, "{}", hub.endpoint())
        .and_then(|()| out.flush())
        .unwrap();
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
