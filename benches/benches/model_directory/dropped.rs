//! From a file that stopped changing to the first frame that went through it.

use crate::place::{Bench, Followed, NAME};
use crate::{Failure, print_row};
use framefleet_benches::series::Series;
use std::fs;
use std::time::{Duration, Instant};

const GOAL: Duration = Duration::from_secs(2);

/// On an idle machine, each time into an empty directory.
pub fn measure(bench: &Bench, repeats: u32) -> Result<(), Failure> {
    let copy: fn(&Followed, &[u8]) -> Result<(), Failure> = |followed, model| Ok(fs::write(followed.file(), model)?);
    for (how, put) in [("copied into place", copy), ("renamed into place", Followed::rename)] {
        let mut seconds = Series::default();
        for number in 0..repeats {
            seconds.push(once(bench, &bench.version(number), put)?.as_secs_f64());
        }
        let met = seconds.median() < GOAL.as_secs_f64();
        print_row(&format!("{how}: to the first frame, s"), &format!("{seconds:.2}"), Some(("less than 2", met)));
    }
    Ok(())
}

fn once(bench: &Bench, model: &[u8], put: fn(&Followed, &[u8]) -> Result<(), Failure>) -> Result<Duration, Failure> {
    let followed = bench.follow()?;
    put(&followed, model)?;
    let start = Instant::now();
    followed.wait_for(model)?;
    let serving = followed.directory.current(NAME).ok_or("it served just now")?;
    let mut lease = serving.lease()?;
    let thresholds = Bench::thresholds(&lease);
    lease.detect(&bench.picture.picture(), &thresholds)?;
    Ok(start.elapsed())
}
