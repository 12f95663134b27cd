//! Inputs that broke something once: `regressions/<target>/<what it was>`.
use std::fs;
use std::path::Path;

use fuzz::targets::Target;

#[test]
fn what_broke_something_once_does_so_no_more() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut tried = 0;
    for folder in fs::read_dir(&root).expect("the folder of regressions") {
        let folder = folder.expect("an entry").path();
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !folder.is_dir() {
            continue;
        }
        let target = Target::find(&name).unwrap_or_else(|| panic!("regressions/{name}: there is no such target"));
        for file in fs::read_dir(&folder).expect("a folder") {
            let path = file.expect("an entry").path();
            eprintln!("{}", path.display());
            target.execute(&fs::read(&path).expect("an input"));
            tried += 1;
        }
    }
    assert!(tried > 0, "there are some");
}
