//! Holds a broker until it is killed, for the test that sees the broker go with its process.

use framefleet_tests::kafka::Broker;

fn main() {
    println!("broker {}", Broker::shared().process_id());
    loop {
        std::thread::park();
    }
}
