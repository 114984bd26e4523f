//! Finds files that import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::rust::{paths, resolve, split_reexports};

/// A module's path, a word for each step.
pub type Module = Vec<String>;

/// What is known of one file.
struct File {
    /// The paths in its code, re-exports aside.
    paths: Vec<Module>,
    /// Each name that it re-exports, with the path that it stands for.
    reexports: BTreeMap<String, Module>,
}

/// The groups of modules that reach each other by their imports, each as a line for every import within the group.
/// `modules` are the files of the crate with their code. A name counts as that of the file that defines it, not of one
/// that re-exports it.
pub fn circles(modules: &[(&Module, &str)]) -> Vec<Vec<String>> {
    let known: BTreeSet<&Module> = modules.iter().map(|(module, _)| *module).collect();
    let files: BTreeMap<&Module, File> =
        modules.iter().map(|(module, code)| (*module, file(module, code, &known))).collect();
    let imports: BTreeMap<&Module, BTreeSet<&Module>> =
        files.iter().map(|(module, file)| (*module, imports(module, file, &files))).collect();
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        imports.keys().map(|module| (*module, reached(module, &imports))).collect();
    let mut groups: BTreeSet<BTreeSet<&Module>> = BTreeSet::new();
    for (module, others) in &reached {
        let group: BTreeSet<&Module> =
            others.iter().filter(|other| reached[**other].contains(module)).copied().collect();
        if group.len() > 1 {
            groups.insert(group);
        }
    }
    let line = |from: &Module, to: &Module| format!("{} imports {}", from.join("::"), to.join("::"));
    groups
        .iter()
        .map(|group| {
            let within = |from| imports[from].iter().filter(|to| group.contains(*to)).map(move |to| line(from, to));
            group.iter().flat_map(|from| within(*from)).collect()
        })
        .collect()
}

fn file(module: &Module, code: &str, known: &BTreeSet<&Module>) -> File {
    let (code, reexported) = split_reexports(code);
    let absolute = |path: &Module| resolve(path, module).or_else(|| child(path, module, known));
    let named = |path: Module| Some((path.last()?.clone(), path));
    File {
        paths: paths(&code).iter().filter_map(absolute).collect(),
        reexports: paths(&reexported).iter().filter_map(absolute).filter_map(named).collect(),
    }
}

/// The files whose names a module imports. A parent is made of the modules that it declares: what it takes from these is no
/// import.
fn imports<'a>(module: &Module, file: &File, files: &BTreeMap<&'a Module, File>) -> BTreeSet<&'a Module> {
    file.paths
        .iter()
        .filter_map(|path| definition(path, files))
        .filter(|imported| !imported.starts_with(module))
        .collect()
}

/// The file that defines what a path names: that of the longest beginning that is a file, or where this re-exports it from.
fn definition<'a>(path: &Module, files: &BTreeMap<&'a Module, File>) -> Option<&'a Module> {
    let of_prefix = |length| files.get_key_value(&path[..length].to_vec());
    let (module, file) = (1..=path.len()).rev().find_map(of_prefix)?;
    match path.get(module.len()).and_then(|name| file.reexports.get(name)) {
        Some(original) if original != path => definition(original, files),
        _ => Some(module),
    }
}

/// A path that begins with a module declared in this file.
fn child(path: &[String], module: &Module, known: &BTreeSet<&Module>) -> Option<Module> {
    let absolute = [module, path].concat();
    known.contains(&absolute[..=module.len()].to_vec()).then_some(absolute)
}

/// All that a module reaches by one import or more.
fn reached<'a>(module: &'a Module, imports: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![module];
    while let Some(module) = next.pop() {
        next.extend(imports[module].iter().filter(|imported| found.insert(**imported)));
    }
    found
}
