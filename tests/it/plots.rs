//! The plots of the manual: the two forms of each are one, small enough for the page, and the page shows them.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The page grows by a third more than this for each.
const LARGEST: usize = 20_000;

#[test]
fn every_plot_is_in_the_manual_in_both_forms() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
    let text = |name: &str| fs::read_to_string(manual.join(name)).expect("a text");
    let (module, page) = (text("mod.rs"), text("benchmarks.md"));
    let mut plots = 0;
    for entry in fs::read_dir(manual.join("plots")).expect("the plots") {
        let path = entry.expect("a plot").path();
        if path.extension().is_none_or(|extension| extension != "svg") {
            continue;
        }
        plots += 1;
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap();
        let svg = fs::read_to_string(&path).unwrap();
        assert!(svg.len() <= LARGEST, "{name} has {} bytes", svg.len());
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
        // What rustdoc takes, which finds this definition first.
        let data = STANDARD.encode(&svg);
        let embedded = format!("[plot: {name}]: data:image/svg+xml;base64,{data}\n");
        assert!(
            text(&format!("plots/{name}.md")) == embedded,
            "plots/{name}.md is not the same plot as plots/{name}.svg"
        );
        let included = format!("include_str!(\"plots/{name}.md\")");
        let place = module.find(&included).expect("mod.rs includes the plot");
        let place_of_page = module.find("include_str!(\"benchmarks.md\")").unwrap();
        assert!(place < place_of_page, "{name} comes after the page");
        // What readers of the repository see.
        let definition = format!("\n[plot: {name}]: plots/{name}.svg\n");
        assert!(page.contains(&definition), "{name} is not defined");
        assert!(
            page.contains(&format!("][plot: {name}]")),
            "{name} is not shown"
        );
    }
    assert!(plots > 0);
}
