//! What users of a fleet call, against a real broker and a real worker.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "fleet_cli/small_fleet.rs"]
mod small_fleet;

use framefleet_tests::clip::{H264, moving};
use framefleet_tests::{Ended, repository, wait};
use small_fleet::{SmallFleet, interrupt, text};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

/// The clip is long enough for a job to be seen, and cancelled, while it is worked on.
fn long_clip(fleet: &SmallFleet) -> String {
    text(&fleet.scratch.clip("long.mp4", &moving("320x180", 240), H264)).to_owned()
}

fn street() -> String {
    text(&repository::street()).to_owned()
}

/// Whether each line of `ended` on stderr is an error of this code.
fn errors(ended: &Ended, status: i32, code: &str, count: usize) {
    assert_eq!(ended.status, Some(status), "{ended}");
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), count, "{ended}");
    assert!(lines.iter().all(|line| line.starts_with(&format!("error: {code}: "))), "{ended}");
}

#[test]
fn jobs_are_listed_told_of_and_their_results_found() {
    let fleet = SmallFleet::new("listed");
    let _worker = fleet.worker();
    let notes = fleet.scratch.file("notes.mp4", b"no video at all");
    assert_eq!(fleet.said(&["jobs"]).trim(), "no job; `framefleet submit` hands one in");
    fleet.said(&["submit", &street(), "--job-id", "good", "--label", "team=red", "--label", "site=7", "--wait"]);
    let bad = fleet.call(&["submit", text(&notes), "--job-id", "bad", "--queue", "high", "--wait"]);
    assert_eq!(bad.status, Some(1), "{bad}");

    let table = fleet.said(&["jobs"]);
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["job", "state", "segments", "source", "model", "queue", "age", "error"]);
    assert_eq!(lines[1][..3], ["good", "succeeded", "6/6"], "{table}");
    assert_eq!(lines[2][..2], ["bad", "failed"], "{table}");
    assert_eq!(lines[2].last(), Some(&"NO_VIDEO"), "{table}");

    let ids = |arguments: &[&str]| {
        let jobs = fleet.json(&[&["jobs"], arguments].concat());
        jobs.iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), ["good", "bad"]);
    assert_eq!(ids(&["--state", "failed,queued"]), ["bad"]);
    assert_eq!(ids(&["--label", "team=red", "--label", "site=7"]), ["good"]);
    assert_eq!(ids(&["--label", "team=blue"]), [""; 0]);
    assert_eq!(ids(&["--queue", "high"]), ["bad"]);
    assert_eq!(ids(&["--last", "1"]), ["bad"]);
    fleet.call(&["jobs", "--state", "done"]).error(2, "BAD_REQUEST");

    let told = fleet.said(&["status", "good", "bad"]);
    for what in ["succeeded", "6/6 are done", "team=red", "tracks.parquet, summary.json", "NO_VIDEO: "] {
        assert!(told.contains(what), "{what}: {told}");
    }
    assert_eq!(fleet.json(&["status", "good"])[0]["outcome"]["state"], "succeeded");
    let unknown = fleet.call(&["status", "good", "bed", "../bad"]);
    errors(&unknown, 1, "JOB_UNKNOWN", 2);
    assert!(unknown.stdout.contains("good"), "{unknown}");

    let results = fleet.said(&["results", "good", "--verify"]);
    assert!(results.starts_with("good succeeded, files as they were published\n"), "{results}");
    let tracks = fleet.job_folder("good").join("tracks.parquet");
    assert!(results.contains(text(&tracks)), "{results}");
    let elsewhere = fleet.said(&["results", "good", "--out", "elsewhere"]);
    assert!(elsewhere.contains("  tracks.parquet"), "{elsewhere}");
    fleet.call(&["results", "good", "--out", "elsewhere", "--verify"]).error(1, "BAD_REQUEST");
    let as_json = &fleet.json(&["results", "good", "--verify"])[0];
    assert_eq!((&as_json["verified"], &as_json["files"][0]["path"]), (&true.into(), &"tracks.parquet".into()));
    let failed = fleet.call(&["results", "bad"]);
    assert!(failed.status == Some(1) && failed.stdout.starts_with("bad failed: NO_VIDEO: "), "{failed}");
    errors(&fleet.call(&["results", "bed"]), 1, "JOB_UNKNOWN", 1);
    let mut bytes = fs::read(&tracks).unwrap();
    bytes[1000] ^= 1;
    fs::write(&tracks, bytes).unwrap();
    errors(&fleet.call(&["results", "good", "--verify"]), 1, "JOB_DAMAGED", 1);
}

#[test]
fn a_job_is_cancelled_while_it_is_worked_on() {
    let fleet = SmallFleet::new("cancelled");
    let clip = long_clip(&fleet);
    fleet.said(&["submit", &clip, "--job-id", "long"]);
    assert_eq!(fleet.state("long"), "queued");
    errors(&fleet.call(&["results", "long"]), 1, "BAD_REQUEST", 1);
    let _worker = fleet.worker();
    wait::until("somebody works on it", || fleet.said(&["status", "long"]).contains("worked on  segment "));
    assert_eq!(fleet.said(&["cancel", "long", "--wait"]), "long cancelled\n");
    assert_eq!(fleet.said(&["cancel", "long"]), "long had ended: cancelled\n");
    errors(&fleet.call(&["cancel", "lnog"]), 1, "JOB_UNKNOWN", 1);
    assert_eq!(fleet.said(&["cancel", "early", "--ahead"]), "early is asked to end\n");
    let late = fleet.call(&["submit", &clip, "--job-id", "early", "--wait"]);
    assert!(late.status == Some(1) && late.stdout.ends_with("early cancelled\n"), "{late}");
    fleet.call(&["cancel", "../x"]).error(2, "BAD_REQUEST");
}

#[test]
fn a_worker_removes_what_is_not_to_be_kept() {
    let fleet = SmallFleet::new("kept");
    let notes = fleet.scratch.file("notes.mp4", b"no video at all");
    let worker = fleet.worker();
    for job in ["one", "two", "three"] {
        fleet.call(&["submit", text(&notes), "--job-id", job, "--wait"]);
    }
    drop(worker);
    fleet.said(&["submit", text(&notes), "--job-id", "waiting", "--queue", "low"]);
    let _worker = fleet.worker_with(&["--keep-last", "1", "--roles", "finish"]);
    let ids = || fleet.json(&["jobs"]).iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    wait::calmly("the older ones are removed", || ids().len() == 2);
    assert_eq!(ids(), ["three", "waiting"]);
    let is_there = |job| fleet.job_folder(job).exists();
    assert!(!is_there("one") && !is_there("two") && is_there("three"));
}

#[test]
fn jobs_that_have_ended_are_removed_for_good() {
    let fleet = SmallFleet::new("removed");
    let notes = fleet.scratch.file("notes.mp4", b"no video at all");
    fleet.call(&["jobs", "delete", "one"]).error(2, "BAD_REQUEST");
    let worker = fleet.worker();
    for job in ["one", "two", "three"] {
        fleet.call(&["submit", text(&notes), "--job-id", job, "--wait"]);
    }
    drop(worker);
    fleet.said(&["submit", text(&notes), "--job-id", "waiting"]);
    errors(&fleet.call(&["jobs", "delete", "four"]), 1, "JOB_UNKNOWN", 1);
    errors(&fleet.call(&["jobs", "delete", "waiting"]), 1, "BAD_REQUEST", 1);
    let states =
        || fleet.json(&["jobs"]).iter().map(|job| job["job_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(fleet.said(&["jobs", "delete", "one", "--dry-run"]), "one would be removed\n");
    assert_eq!(states(), ["one", "two", "three", "waiting"]);
    assert_eq!(fleet.said(&["jobs", "delete", "one"]), "one removed\n");
    assert_eq!(states(), ["two", "three", "waiting"]);
    assert!(!fleet.job_folder("one").exists() && fleet.job_folder("two").exists());
    assert_eq!(fleet.said(&["jobs", "delete", "--older-than", "1h"]), "nothing to remove\n");
    fs::remove_dir_all(fleet.job_folder("three")).unwrap();
    assert_eq!(fleet.said(&["jobs", "delete", "three"]), "three removed; it had no folder any more\n");
    assert_eq!(fleet.said(&["jobs", "delete", "--keep-last", "0"]), "two removed\n");
    assert_eq!(states(), ["waiting"]);
    errors(&fleet.call(&["status", "two"]), 1, "JOB_UNKNOWN", 1);
}

#[test]
fn dead_letters_are_shown_without_secrets_and_tried_again() {
    let fleet = SmallFleet::new("letters");
    assert_eq!(fleet.said(&["dead-letters", "list"]), "no dead letter\n");
    let _worker = fleet.worker();
    let video = fleet.scratch.file("late.mp4", b"not copied yet");
    fleet.call(&["submit", text(&video), "--job-id", "late", "--wait"]);
    let url = "http://user:secret@127.0.0.1:1/v.mp4?sig=secret";
    fleet.call(&["submit", url, "--job-id", "hidden", "--wait"]);
    fleet.call(&["submit", &street(), "--job-id", "late", "--queue", "low"]).error(2, "JOB_CONFLICT");
    // As of a client that does not look before.
    fleet.submit_unseen("late", &street());
    wait::until("all are given up", || fleet.json(&["dead-letters", "list"]).len() == 3);

    let table = fleet.said(&["dead-letters", "list"]);
    for code in ["NO_VIDEO", "ADDRESS_DENIED", "JOB_CONFLICT"] {
        assert!(table.contains(code), "{table}");
    }
    let letter = |code: &str| {
        let letters = fleet.json(&["dead-letters", "list", "--code", code]);
        assert_eq!(letters.len(), 1);
        letters[0]["id"].as_str().unwrap().to_owned()
    };
    let shown = fleet.said(&["dead-letters", "show", &letter("ADDRESS_DENIED")]);
    for what in ["letters.jobs, partition", "\"source\": \"http://127.0.0.1:1/v.mp4?sig=***\"", "ADDRESS_DENIED"] {
        assert!(shown.contains(what), "{what}: {shown}");
    }
    for call in [
        &["dead-letters", "list"] as &[&str],
        &["dead-letters", "list", "--json"],
        &["jobs", "--json"],
        &["status", "hidden"],
        &["results", "hidden"],
    ] {
        assert!(!fleet.call(call).stdout.contains("secret"), "{call:?}");
    }
    assert!(!shown.contains("secret"), "{shown}");
    fleet.call(&["dead-letters", "show", "99-99"]).error(2, "BAD_REQUEST");

    // The video has arrived.
    fs::copy(repository::street(), &video).unwrap();
    let no_video = letter("NO_VIDEO");
    assert_eq!(fleet.said(&["dead-letters", "retry", &no_video]), format!("{no_video} submitted as late.retry1\n"));
    wait::until("it succeeds", || fleet.state("late.retry1") == "succeeded");
    let again = fleet.said(&["dead-letters", "retry", &no_video]);
    assert_eq!(again, format!("{no_video} left alone: tried again as late.retry1, which is succeeded\n"));
    let conflict = letter("JOB_CONFLICT");
    let sent_back = fleet.said(&["dead-letters", "retry", "--all", "--code", "JOB_CONFLICT"]);
    assert_eq!(sent_back, format!("{conflict} sent back to letters.jobs\n"));
    wait::until("it is given up again", || fleet.json(&["dead-letters", "list"]).len() == 4);
    let all = fleet.said(&["dead-letters", "retry", "--all"]);
    assert_eq!(all.lines().count(), 2, "what conflicts is left out: {all}");
    fleet.call(&["dead-letters", "retry", "99-99"]).error(2, "BAD_REQUEST");
    fleet.call(&["dead-letters", "retry"]).error(2, "BAD_REQUEST");
}

#[test]
fn a_watch_without_a_terminal_prints_a_line_for_each_change() {
    let fleet = SmallFleet::new("lines");
    let notes = fleet.scratch.file("notes.mp4", b"no video at all");
    fleet.said(&["submit", text(&notes), "--job-id", "one"]);
    let mut command = fleet.command(repository::framefleet());
    let mut watch = command.args(["jobs", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "one queued");
    let _worker = fleet.worker();
    assert_eq!(lines.next().unwrap(), "one failed NO_VIDEO");
    fleet.said(&["submit", &street(), "--job-id", "two"]);
    let of_two: Vec<String> = lines.by_ref().take_while(|line| line != "two succeeded 6/6").collect();
    assert!(of_two.iter().all(|line| line.starts_with("two ")), "{of_two:?}");
    interrupt(&watch);
    assert_eq!(watch.wait().unwrap().code(), Some(0));
}

#[test]
fn a_watch_on_a_terminal_draws_over_itself_and_fits() {
    const COLUMNS: usize = 50;
    let fleet = SmallFleet::new("screen");
    for n in 0..20 {
        fleet.said(&["submit", &street(), "--job-id", &format!("job-{n:02}"), "--queue", "low"]);
    }
    let program = repository::framefleet();
    let call = format!("stty rows 12 cols {COLUMNS}; exec {} jobs --watch", program.display());
    let mut command = fleet.command("script");
    command.args(["--quiet", "--flush", "--return", "--command", &call, "/dev/null"]);
    let mut terminal = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut screen = terminal.stdout.take().unwrap();
    let mut seen = String::new();
    let mut see_until = |what: &str, screen: &mut dyn Read| {
        let mut bytes = [0; 4096];
        while !seen.contains(what) {
            let n = screen.read(&mut bytes).unwrap();
            assert!(n > 0, "{what} does not come: {seen}");
            seen += &String::from_utf8_lossy(&bytes[..n]);
        }
        std::mem::take(&mut seen)
    };
    let first = see_until("\x1b[J", &mut screen);
    assert!(first.contains("jobs     20 queued") && first.contains("workers  none alive"), "{first}");
    assert!(first.contains("job-19") && first.contains("more") && !first.contains("job-00"), "{first}");
    for line in first.split("\r\n") {
        let line = line.replace("\x1b[K", "").replace("\x1b[J", "");
        assert!(line.chars().count() < COLUMNS, "{line:?}");
    }
    // Eleven lines, and the one of the cursor.
    assert!(see_until("\x1b[J", &mut screen).contains("\x1b[11A\r"));
    let _worker = fleet.worker();
    see_until("workers  1 alive: 1 detect, 1 finish, 1 plan", &mut screen);
    see_until("succeeded", &mut screen);
    terminal.stdin.take().unwrap().write_all(b"\x03").unwrap();
    // Read to its end, so that it is not kept from ending.
    std::io::copy(&mut screen, &mut std::io::sink()).unwrap();
    assert_eq!(terminal.wait().unwrap().code(), Some(0));
}
