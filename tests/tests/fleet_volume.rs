//! Volumes that are full or fail: what is published stays whole, work waits, and goes on when the volume is well.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_tests::disk::Disk;
use framefleet_tests::scratch::temporary_files_below;
use framefleet_tests::{Fleet, Footage, Oracle, Orders, wait};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::thread;

const DISK_KIB: u32 = 32 << 10;

/// Fault 11, where the limit comes first: a fleet that shares a volume leaves some of it free.
#[test]
fn a_volume_that_is_nearly_full_pauses_the_intake_until_there_is_space() {
    let (fleet, disk) = on_a_small_disk();
    let worker = fleet.worker().with(&["--min-free", "20"]).through(disk.prefix()).started();
    let before = fleet.submit("before", Footage::short());
    fleet.wait_for_outcomes([&before]);
    let ballast = fill(&disk, 90);
    wait::calmly("the worker takes no work", || worker.ask("/readyz").1.contains("is free, less than 20.0 %"));
    let id = fleet.submit("waits", Footage::short());
    assert_eq!(worker.ask("/livez").0, 200, "a restart makes no space");
    wait::calmly("the heartbeat says so", || worker.ask("/metrics").1.contains("framefleet_worker_takes_work 0"));
    assert_eq!(fleet.published(&id), 0);
    fs::remove_file(ballast).unwrap();
    Oracle::of(&fleet).succeeded([&before, &id], Footage::short()).check();
    assert!(worker.is_ready());
}

/// Fault 11, in a segment and at publishing the tracks.
#[test]
fn a_volume_that_becomes_full_in_the_middle_of_a_job_loses_nothing() {
    for held in ["open segments/.tmp hold 3", "open attempts/finish/0 hold 1"] {
        let (fleet, disk) = on_a_small_disk();
        let orders = Orders::new(fleet.scratch(), "full");
        orders.give(&[held]);
        let worker = fleet.worker().envs(orders.environment()).through(disk.prefix()).started();
        let id = fleet.submit("full", Footage::short());
        orders.wait_until_done(1);
        let ballast = fill(&disk, 100);
        orders.withdraw();
        wait::calmly("the worker takes no work", || worker.ask("/readyz").1.contains("no space left"));
        assert!(fleet.outcome(&id).is_none(), "{held}");
        assert_published_is_whole(&fleet, &id);
        fs::remove_file(ballast).unwrap();
        Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
        assert_eq!(fleet.dead_letters(), [], "{held}");
        assert_eq!(temporary_files_below(fleet.results()), [] as [PathBuf; 0], "{held}");
    }
}

fn on_a_small_disk() -> (Fleet, Disk) {
    let mut fleet = Fleet::shared();
    let disk = Disk::mount(&fleet.results_of_workers(), DISK_KIB);
    fleet.see_results_at(disk.seen_from_outside());
    (fleet, disk)
}

/// Until so many percent of it are taken.
fn fill(disk: &Disk, percent: u64) -> PathBuf {
    let path = disk.seen_from_outside().join("ballast");
    let mut file = File::create(&path).unwrap();
    let bytes = u64::from(DISK_KIB) * 1024 * percent / 100;
    let block = [0_u8; 4096];
    for _ in 0..bytes / 4096 {
        if file.write_all(&block).is_err() {
            break;
        }
    }
    path
}

fn assert_published_is_whole(fleet: &Fleet, id: &JobId) {
    let folder = fleet.folder(id);
    for index in folder.published_segments().unwrap() {
        folder.segment_info(index).unwrap();
        assert!(folder.segment_rows(index).unwrap().all(|rows| rows.is_ok()), "segment {index}");
    }
}

/// Everything that makes a file on the volume fails in the same way, as long as the orders stand.
const FAULTS: &[&str] = &["write EIO", "fsync EIO", "link EIO", "open EROFS", "open EACCES", "open EMFILE"];

/// Fault 12.
#[test]
fn a_volume_that_fails_is_waited_for_and_no_job_with_it() {
    thread::scope(|scope| {
        for fault in FAULTS {
            scope.spawn(|| fail_and_be_well_again(fault));
        }
    });
}

fn fail_and_be_well_again(fault: &str) {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "failing");
    // In the middle of the job, with segments that have not begun; then everything below the results.
    orders.give(&["decode @ hold 60"]);
    let worker = fleet.worker().with(&["--slots", "1"]).envs(orders.environment()).started();
    let id = fleet.submit("failing", Footage::short());
    orders.wait_until_done(1);
    let (call, error) = fault.split_once(' ').unwrap();
    orders.give(&[&format!("{call} results/ {error}")]);
    wait::calmly("the worker takes no work", || worker.ask("/readyz").0 == 503 && worker.says("no work is taken"));
    assert!(fleet.outcome(&id).is_none(), "{fault}");
    let published = fleet.published(&id);
    assert!(published < Footage::short().segments, "{fault}: nothing failed");
    assert_published_is_whole(&fleet, &id);

    orders.withdraw();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    assert!(worker.is_ready(), "{fault}");
    assert_eq!(fleet.dead_letters(), [], "{fault}");
}
