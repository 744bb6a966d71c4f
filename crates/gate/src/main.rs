//! `debark-gate`: see the library.

fn main() -> std::process::ExitCode {
    debark_gate::main()
}
