//! Jobs that are named on the command line, as the fleet knows them.

use super::{DONE, FAILED, print_error};
use framefleet_contract::identity::JobId;
use framefleet_queue::QueueError;
use framefleet_queue::board::{Board, Job};

/// The jobs of these names, each once, and the exit status so far: of a job that nobody knows an error is printed.
pub fn known(names: &[String], board: &Board) -> (Vec<Job>, u8) {
    let (mut jobs, mut status) = (Vec::<Job>::new(), DONE);
    for name in names {
        match JobId::new(name).ok().and_then(|job_id| board.job(&job_id)) {
            Some(job) if jobs.iter().any(|known| known.job_id == job.job_id) => {}
            Some(job) => jobs.push(job),
            None => {
                let error = QueueError::UnknownJob(name.clone());
                print_error(error.code(), &error.to_string());
                status = FAILED;
            }
        }
    }
    (jobs, status)
}
