//! Files that are good, bad, moved and gone.

use super::*;

const HOT: &str = "[[rules]]\nname = \"hot\"\nwhen = \"temperature > 80.0\"\n";

fn files(folder: &Path, kept: Vec<Entry>) -> Files {
    Files::new(vec![folder.to_owned()], kept, BTreeSet::new(), Limits::default())
}

fn names(files: &Files) -> Vec<String> {
    files.documents().rules.into_iter().map(|rule| rule.name).collect()
}

#[test]
fn a_bad_file_leaves_its_former_version_and_the_others_in_force_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (good, bad) = (folder.path().join("a.toml"), folder.path().join("b.json"));
    std::fs::write(&good, HOT).unwrap();
    std::fs::write(&bad, r#"{"rules": [{"name": "cold", "when": "temperature < 0.0"}]}"#).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no rules").unwrap();
    let mut first = files(folder.path(), Vec::new());
    let scan = first.scan(false);
    assert!(scan.changed);
    assert_eq!(names(&first), ["hot", "cold"]);
    assert_eq!(first.scan(false), Scan::default(), "nothing has changed");

    std::fs::write(&bad, "{\"rules\": [\n{\"name\": \"cold\", \"wen\": \"x\"}]}").unwrap();
    assert!(!first.scan(false).changed);
    let error = first.states().pop().unwrap().error.unwrap();
    assert_eq!(error.line, Some(2), "{error:?}");
    assert!(error.reason.contains("wen"), "{error:?}");
    assert_eq!(names(&first), ["hot", "cold"]);

    let kept = scan.keep.into_iter().map(|change| match change {
        EntryChange::Put(entry) => entry,
        EntryChange::Delete { .. } => panic!("nothing is gone"),
    });
    let mut again = files(folder.path(), kept.collect());
    assert!(!again.scan(false).changed, "what is in force is that of the run before");
    assert_eq!(names(&again), ["hot", "cold"]);
    std::fs::remove_file(&bad).unwrap();
    assert!(again.scan(false).changed);
    assert_eq!(names(&again), ["hot"]);
}

#[test]
fn the_sample_rules_are_sound() {
    let mut sample = files(Path::new("../samplconfig/factory/rules"), Vec::new());
    sample.scan(false);
    let states = sample.states();
    assert!(!states.is_empty());
    assert!(states.iter().all(|state| state.error.is_none() && !state.rules.is_empty()), "{states:?}");
}

#[test]
fn a_rule_tells_only_targets_that_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let action = "[[rules.then]]\nnotify = { target = \"ops\" }\n";
    std::fs::write(folder.path().join("a.toml"), format!("{HOT}{action}")).unwrap();
    let mut without = files(folder.path(), Vec::new());
    without.scan(false);
    let error = without.states().pop().unwrap().error.unwrap();
    assert!(error.reason.starts_with("line 2: ") && error.reason.contains("[targets.ops]"), "{error:?}");
    let targets = BTreeSet::from(["ops".to_owned()]);
    let mut with = Files::new(vec![folder.path().to_owned()], Vec::new(), targets, Limits::default());
    assert!(with.scan(false).changed);
}

#[test]
fn a_rule_may_move_to_another_file_in_one_go() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.toml"), folder.path().join("b.toml"));
    let cold = HOT.replace("hot", "cold");
    std::fs::write(&a, &cold).unwrap();
    std::fs::write(&b, HOT).unwrap();
    let mut moved = files(folder.path(), Vec::new());
    moved.scan(false);
    std::fs::write(&a, format!("{cold}{HOT}")).unwrap();
    std::fs::write(&b, "# empty now\n").unwrap();
    moved.scan(true);
    assert_eq!(names(&moved), ["cold", "hot"]);
    assert!(moved.states().iter().all(|state| state.error.is_none()), "{:?}", moved.states());
}

#[test]
fn a_name_belongs_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), HOT).unwrap();
    std::fs::write(folder.path().join("b.toml"), format!("# again\n{HOT}")).unwrap();
    let mut both = files(folder.path(), Vec::new());
    both.scan(false);
    assert_eq!(names(&both), ["hot"]);
    let error = both.states().pop().unwrap().error.unwrap();
    assert_eq!(error.line, Some(3), "{error:?}");
    assert!(error.reason.contains("a.toml"), "{error:?}");
}
