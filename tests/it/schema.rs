//! The JSON Schema of gateway.yaml as it is shipped, used as editors use it. Beside the code is the comparison with the
//! loader.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::BINARY;
use crate::support::tools::{succeeds, tool};

/// The schema as the command prints it, in a file.
fn printed(folder: &Path) -> PathBuf {
    let output = Command::new(BINARY).arg("schema").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let file = folder.join("gateway.schema.json");
    std::fs::write(&file, output.stdout).unwrap();
    file
}

#[test]
fn another_validator_takes_the_schema_and_every_gateway_yaml_that_we_ship() {
    let Some(mut meta) = tool("check-jsonschema") else { return };
    let folder = tempfile::tempdir().unwrap();
    let schema = printed(folder.path());
    succeeds(meta.arg("--check-metaschema").arg(&schema));

    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = ["gateway.yaml", "deploy/compose/gateway/gateway.yaml", "deploy/kubernetes/gateway.yaml"];
    let mut validate = tool("check-jsonschema").unwrap();
    succeeds(validate.arg("--schemafile").arg(&schema).args(shipped.map(|file| top.join(file))));
}

#[test]
fn another_validator_says_where_a_mistake_is() {
    let Some(mut validate) = tool("check-jsonschema") else { return };
    let folder = tempfile::tempdir().unwrap();
    let schema = printed(folder.path());
    let reference = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway.yaml")).unwrap();
    let wrong = folder.path().join("gateway.yaml");
    let changed = reference.replace("max_connections: 10000", "max_conections: 10000").replace("75s", "75");
    std::fs::write(&wrong, changed.replace("scheme: civo", "scheme: cibo")).unwrap();
    let output = validate.arg("--schemafile").arg(&schema).arg(&wrong).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for place in ["'max_conections' was unexpected", "$.server.idle_timeout", "$.routes[1].scheme"] {
        assert!(said.contains(place), "{place}: {said}");
    }
}
