fn main() {
    print!("{}", framefleet_scheduler::pool::crd_yaml());
}
