//! The rules about where code lies and what may depend on what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};
use fieldline_tests::programs::repository;

/// What a pure crate must not reach, not even through others.
const IMPURE: [&str; 7] = ["tokio", "hyper", "reqwest", "ureq", "axum", "rusqlite", "mio"];
/// The last layer that is pure.
const PURE: u64 = 1;
/// The crate of AWS adapters.
const AWS_CRATE: &str = "fieldline-aws";
const LINES_MAX: usize = 600;
const VAGUE: [&str; 5] = ["utils", "common", "core", "helpers", "misc"];

fn metadata() -> Result<Metadata> {
    Ok(MetadataCommand::new().manifest_path(repository().join("Cargo.toml")).exec()?)
}

fn layer(package: &Package) -> Option<u64> {
    package.metadata.get("layer")?.as_u64()
}

#[test]
fn dependencies_point_down() -> Result<()> {
    let metadata = metadata()?;
    let layers: BTreeMap<&str, u64> = metadata
        .workspace_packages()
        .iter()
        .map(|package| {
            let layer = layer(package).with_context(|| format!("{} states no layer", package.name))?;
            Ok((package.name.as_str(), layer))
        })
        .collect::<Result<_>>()?;
    let mut wrong = Vec::new();
    for package in metadata.workspace_packages() {
        let own = layers[package.name.as_str()];
        for dependency in &package.dependencies {
            match layers.get(dependency.name.as_str()) {
                Some(layer) if *layer > own => {
                    wrong.push(format!("{} ({own}) uses {} ({layer})", package.name, dependency.name))
                }
                _ => {}
            }
        }
    }
    assert!(wrong.is_empty(), "these point up: {wrong:#?}");
    Ok(())
}

#[test]
fn only_the_crate_of_aws_adapters_names_the_aws_sdk() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        let aws = package.dependencies.iter().find(|dependency| dependency.name.starts_with("aws-"));
        assert!(aws.is_none() || package.name.as_str() == AWS_CRATE, "{} uses {aws:?}", package.name);
    }
    Ok(())
}

#[test]
fn pure_crates_reach_no_input_or_output() -> Result<()> {
    let metadata = metadata()?;
    for package in metadata.workspace_packages() {
        if layer(package).is_some_and(|layer| layer <= PURE) {
            let reached = reach(&metadata, &package.id)?;
            let impure: Vec<_> = IMPURE.iter().filter(|name| reached.contains(**name)).collect();
            assert!(impure.is_empty(), "{} is pure and reaches {impure:?}", package.name);
        }
    }
    Ok(())
}

/// The names of all packages that `start` is built with, tests apart.
fn reach(metadata: &Metadata, start: &PackageId) -> Result<BTreeSet<String>> {
    let resolve = metadata.resolve.as_ref().context("cargo has resolved the workspace")?;
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut names = BTreeSet::new();
    let mut waiting = vec![start];
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        names.insert(metadata[id].name.to_string());
        for dependency in &nodes[id].deps {
            if dependency.dep_kinds.iter().any(|kind| kind.kind == cargo_metadata::DependencyKind::Normal) {
                waiting.push(&dependency.pkg);
            }
        }
    }
    Ok(names)
}

#[test]
fn every_manifest_inherits_its_dependencies_and_lints() -> Result<()> {
    for package in metadata()?.workspace_packages() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path)?.parse()?;
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        assert_eq!(lints, Some(true), "{} does not inherit the lints", package.name);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = manifest.get(section).and_then(toml::Value::as_table);
            for (name, entry) in entries.into_iter().flatten() {
                let inherited = entry.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(inherited, "{}: {section}.{name} is not inherited from the workspace", package.name);
            }
        }
    }
    Ok(())
}

#[test]
fn files_are_short_and_named_after_what_they_hold() -> Result<()> {
    let mut files = Vec::new();
    for package in metadata()?.workspace_packages() {
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        collect(folder.as_std_path(), &mut files)?;
    }
    assert!(files.len() > 20, "the walk has found only {files:?}");
    for file in files {
        let lines = std::fs::read_to_string(&file)?.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, the limit is {LINES_MAX}", file.display());
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        assert!(!VAGUE.contains(&name) && name != "mod", "{} says nothing by its name", file.display());
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.join("CACHEDIR.TAG").exists() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
