//! The compiler: any text is plays or diagnostics, without a look at any host.
#![no_main]

use std::sync::Arc;

use debark_playbook::diagnostic::render;
use debark_playbook::yaml::NoVault;
use debark_playbook::{CompileOptions, Compiler, SourceMap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
    let path = dir.path().join("site.yml");
    std::fs::write(&path, text).expect("room for it");
    let sources = Arc::new(SourceMap::default());
    let compiler = Compiler::new(sources.clone(), Arc::new(NoVault), CompileOptions::default());
    match compiler.compile(&[path]) {
        Ok(compiled) => {
            for play in &compiled.plays {
                let bytes = debark_wire::encode(&play.play).expect("a play can be sent");
                let again: debark_wire::Play = debark_wire::decode(&bytes).expect("and received");
                assert_eq!(debark_wire::encode(&again).expect("as before"), bytes);
            }
            let _ = render(&compiled.warnings, &sources, false);
        }
        Err(problems) => assert!(!render(&problems, &sources, true).is_empty()),
    }
});
