//! The Python interpreter that has the packages of the programs which results are compared with.

use std::path::PathBuf;

/// From `FRAMEFLEET_PYTHON`, which `./dev test` sets.
pub fn interpreter() -> PathBuf {
    let hint = "FRAMEFLEET_PYTHON is not set: run `./dev test`, or set it to a Python that has the packages of \
                sample/requirements-evaluate.txt, tests/independent/requirements.txt and examples/python/requirements.txt";
    std::env::var_os("FRAMEFLEET_PYTHON").expect(hint).into()
}
