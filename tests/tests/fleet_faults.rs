//! Workers that are killed, stopped and restarted: nothing is done twice, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::{Fleet, Footage, Oracle, wait};

#[test]
fn a_fleet_gives_what_a_single_process_gives() {
    let fleet = Fleet::shared();
    let started = std::time::Instant::now();
    let _worker = fleet.worker().started();
    println!("started {:?}", started.elapsed());
    let ids = [fleet.submit("a", Footage::short()), fleet.submit("b", Footage::short())];
    Oracle::of(&fleet).succeeded(&ids, Footage::short()).check();
    println!("done {:?}", started.elapsed());
}
