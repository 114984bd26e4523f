//! What stands in `deploy`, checked by the tools that know each kind of file. No container is built and no cluster is
//! asked: there is no engine here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hooklatch::config::{self, Config, Place, UrlPlace};
use serde_json::Value;

use crate::support::gateway::Secrets;
use crate::support::process::BINARY;
use crate::support::tools::{succeeds, tool};

pub fn deployed(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(path)
}

pub fn read(path: &str) -> String {
    fs::read_to_string(deployed(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every document of a YAML file.
pub fn documents(text: &str) -> Vec<Value> {
    use serde::Deserialize;
    serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap()).collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// A gateway.yaml of `deploy`, with secrets made up, from the environment where it has files.
fn gateway(path: &str) -> Config {
    let text = read(path)
        .replace("file: /run/secrets/hooklatch/", "env: ")
        .replace("file: /run/secrets/hooklatch-db/url", "env: DATABASE_URL");
    let url = ("DATABASE_URL", "postgresql://hooklatch:s@postgres/hooklatch");
    let secrets = [("CIVO_WEBHOOK_SECRET", "s"), ("civo", "s"), ("icr", "s"), url];
    config::parse(&text, Path::new(""), &Secrets(&secrets)).unwrap_or_else(|errors| panic!("{path}: {errors:?}"))
}

#[test]
fn systemd_understands_the_unit_and_finds_little_exposed() {
    let Some(mut analyze) = tool("systemd-analyze") else { return };
    let unit = read("systemd/hooklatch.service");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hooklatch.service");
    // The program must exist.
    fs::write(&file, unit.replace("/usr/bin/hooklatch", BINARY)).unwrap();
    assert_eq!(succeeds(analyze.arg("verify").arg(&file)), "");

    // The socket, beside the service that it is for.
    let socket = folder.path().join("hooklatch.socket");
    fs::write(&socket, read("systemd-socket/hooklatch.socket")).unwrap();
    assert_eq!(succeeds(tool("systemd-analyze").unwrap().arg("verify").arg(&socket)), "");
    let address = "0.0.0.0:8080";
    assert!(read("../gateway.yaml").contains(&format!("\n  listen: {address} ")), "that of the example");
    assert!(read("systemd-socket/hooklatch.socket").contains(&format!("\nListenStream={address}\n")));

    // The user that it runs as is made beforehand, and can read the secrets.
    let user = unit.lines().find_map(|line| line.strip_prefix("User=")).unwrap();
    let mut users = tool("systemd-sysusers").unwrap();
    fs::create_dir(folder.path().join("etc")).unwrap();
    let root = format!("--root={}", folder.path().display());
    let made = users.args(["--dry-run", &root]).arg(deployed("systemd/sysusers.d/hooklatch.conf")).output().unwrap();
    let made = String::from_utf8(made.stderr).unwrap();
    assert!(made.contains(&format!("Creating user '{user}' ")), "{made}");
    let line = format!("\nd /etc/hooklatch/secrets 2750 root {user} -\n");
    assert!(read("systemd/tmpfiles.d/hooklatch.conf").ends_with(&line));
    assert!(unit.contains("file: /etc/hooklatch/secrets/") && !unit.contains("\nLoadCredential="));
    // systemd keeps the sockets over a restart.
    assert!(unit.contains("\nType=notify\n") && unit.contains("\nFileDescriptorStoreMax="));

    // Less than 2.0, in tenths. What is looked at changes from version to version: the figure of the note is one's.
    let (note, version) = (read("README.md"), succeeds(tool("systemd-analyze").unwrap().arg("--version")));
    let mut security = tool("systemd-analyze").unwrap();
    let said = succeeds(security.args(["security", "--offline=true", "--threshold=20"]).arg(&file));
    if version.starts_with("systemd 252 ") {
        let (figure, _) = note.split_once(" of 10 by `systemd-analyze security` of systemd 252").unwrap();
        let figure = figure.split_whitespace().next_back().unwrap();
        assert!(said.contains(&format!("exposure level for hooklatch.service: {figure} ")), "{said}");
    }
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    let Some(mut hadolint) = tool("hadolint") else { return };
    assert_eq!(succeeds(hadolint.arg(deployed("Dockerfile"))), "");
}

#[test]
fn the_image_says_what_it_is_and_of_which_commit() {
    let dockerfile = read("Dockerfile").replace("\\\n", "");
    let (_, image) = dockerfile.split_once("FROM scratch\n").unwrap();
    let (_, labels) = image.split_once("\nLABEL ").unwrap();
    let (labels, _) = labels.split_once('\n').unwrap();
    let labels: BTreeMap<&str, &str> = labels
        .split("org.opencontainers.image.")
        .filter_map(|label| label.trim().strip_suffix('"')?.split_once("=\""))
        .collect();
    let repository = env!("CARGO_PKG_REPOSITORY");
    let documentation = format!("{repository}/tree/main/docs");
    let expected = [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("url", repository),
        ("source", repository),
        ("documentation", &documentation),
        ("licenses", env!("CARGO_PKG_LICENSE")),
        ("version", "$VERSION"),
        ("revision", "$REVISION"),
    ];
    assert_eq!(labels, BTreeMap::from(expected));
    // What the builder gives to the build reaches the label too; without it, the version is that of the sources.
    assert!(image.contains(&format!("\nARG VERSION={}\n", env!("CARGO_PKG_VERSION"))), "{image}");
    assert_eq!(dockerfile.matches("\nARG REVISION=\n").count(), 2);
    assert!(image.contains("\nARG REVISION=\n") && dockerfile.contains("--build-arg REVISION="), "{image}");
}

#[test]
fn the_build_in_the_container_gets_all_that_it_reads() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| fs::read_to_string(top.join(name)).unwrap();
    let ignored = file(".dockerignore");
    let copied: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignored.lines().any(|line| line == "*") && copied.iter().all(|path| top.join(path).exists()), "{ignored}");
    let (script, manifest) = (file("build.rs"), file("Cargo.toml"));
    let folders = script.lines().filter_map(|line| line.split_once(": &str = \"")?.1.strip_suffix("\";"));
    let targets = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    let read: Vec<&str> = folders.chain(targets).chain(["Cargo.toml", "Cargo.lock", "build.rs", "src"]).collect();
    assert!(read.len() >= 8, "{read:?}");
    for path in read {
        assert!(copied.iter().any(|copied| Path::new(path).starts_with(copied)), "{path} is not copied");
    }
}

#[test]
fn compose_yaml_is_of_the_compose_specification_and_mounts_what_is_there() {
    let compose = composed("compose.yaml");
    let config = gateway("compose/gateway/gateway.yaml");
    assert!(matches!(&config.routes[0].upstream.urls[0].place, UrlPlace::Tcp { host, .. } if host == "handler"));
    assert!(compose["services"].get("handler").is_some());
    let scraped = documents(&read("prometheus/prometheus.yml")).remove(0);
    let target = format!("gateway:{}", config.admin.listen.port());
    assert_eq!(scraped["scrape_configs"][0]["static_configs"][0]["targets"], serde_json::json!([target]));
    assert!(config.admin.listen.ip().is_unspecified(), "Prometheus comes from another container");
}

#[test]
fn the_gateways_of_compose_share_the_postgresql_beside_them() {
    let compose = composed("compose.cluster.yaml");
    let config = gateway("compose/cluster/gateway.yaml");
    let services = compose["services"].as_object().unwrap();
    let handler = &config.routes[0].upstream.urls[0].place;
    assert!(matches!(handler, UrlPlace::Tcp { host, .. } if services.contains_key(host)));
    let gateways: Vec<&Value> =
        services.iter().filter(|(name, _)| name.starts_with("gateway")).map(|(_, of)| of).collect();
    assert_eq!(gateways.len(), 2);
    let merged = |service: &Value, key: &str| service.get(key).unwrap_or(&service["<<"][key]).clone();
    let names: BTreeSet<String> = gateways.iter().map(|service| merged(service, "hostname").to_string()).collect();
    let ports: BTreeSet<String> = gateways.iter().map(|service| merged(service, "ports").to_string()).collect();
    assert_eq!((names.len(), ports.len()), (2, 2), "each has a name and a port of its own");
    for service in gateways {
        let url = merged(service, "environment")["DATABASE_URL"].as_str().unwrap().to_owned();
        let (_, host) = url.split_once('@').unwrap();
        let (host, database) = host.split_once('/').unwrap();
        let user = services[host]["environment"]["POSTGRES_USER"].as_str().unwrap();
        assert!(url.starts_with(&format!("postgresql://{user}:${{POSTGRES_PASSWORD")) && database == user, "{url}");
        for network in list(&services[host]["networks"]) {
            assert!(list(&merged(service, "networks")).contains(network));
            assert_eq!(compose["networks"][network.as_str().unwrap()]["internal"], true, "only gateways reach it");
        }
    }
}

/// A compose file, whose schema and mounts are right.
fn composed(file: &str) -> Value {
    let compose = documents(&read(file)).remove(0);
    for (name, service) in compose["services"].as_object().unwrap() {
        let volumes = service.get("volumes").or(service.get("<<").and_then(|merged| merged.get("volumes")));
        for volume in volumes.into_iter().flat_map(list) {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let named = compose["volumes"].get(source).is_some();
            assert!(named || deployed(source).exists(), "{name}: {volume}");
        }
    }
    if let Some(mut validate) = tool("check-jsonschema") {
        succeeds(validate.args(["--builtin-schema", "vendor.compose-spec"]).arg(deployed(file)));
    }
    compose
}

#[test]
fn the_manifests_are_of_the_schemas_of_kubernetes_as_kustomize_puts_them_together() {
    let common = ["ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "ServiceAccount"];
    let scaled = &["Deployment", "HorizontalPodAutoscaler"][..];
    for (from, workload) in
        [("kubernetes", scaled), ("kubernetes-queue", &["StatefulSet"]), ("kubernetes-cluster", scaled)]
    {
        let Some(rendered) = rendered(from) else { return };
        let objects = documents(&rendered);
        let kinds: BTreeSet<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, common.iter().chain(workload).copied().collect(), "{from}");
        let configured = objects.iter().find(|object| object["kind"] == "ConfigMap").unwrap();
        assert_eq!(configured["data"]["gateway.yaml"], read(&format!("{from}/gateway.yaml")));
        assert_fits_kubernetes(&rendered);
    }
}

/// Validates manifests by the schemas of Kubernetes.
pub fn assert_fits_kubernetes(manifests: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    fs::write(&file, manifests).unwrap();
    // The oldest that knows preStop's sleep, and the newest that the validator knows.
    for version in [&["-k", "1.30"][..], &[]] {
        let Some(mut validate) = tool("kubernetes-validate") else { return };
        succeeds(validate.args(["--strict", "--quiet"]).args(version).arg(&file));
    }
}

/// A folder as kustomize puts it together; `None` without it.
pub fn rendered(folder: &str) -> Option<String> {
    Some(succeeds(tool("kubectl")?.arg("kustomize").arg(deployed(folder))))
}

#[test]
fn the_operators_objects_are_of_its_models_as_kustomize_puts_them_together() {
    let Some(rendered) = rendered("kubernetes/monitoring") else { return };
    let objects = documents(&rendered);
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["PrometheusRule", "ServiceMonitor"]);

    let folder = tempfile::tempdir().unwrap();
    if let Some(mut promtool) = tool("promtool") {
        let file = folder.path().join("rules.json");
        fs::write(&file, objects[0]["spec"].to_string()).unwrap();
        succeeds(promtool.args(["check", "rules"]).arg(file));
    }
    assert_fits_the_operator(&objects);
    let mut misspelt = objects[1].clone();
    misspelt["spec"]["endpoints"][0]["intervall"] = "15s".into();
    let Some(mut models) = operator_models(folder.path(), &[misspelt]) else { return };
    let refused = models.output().unwrap();
    assert!(!refused.status.success(), "{refused:?}");
}

/// Validates objects by the models of the Prometheus Operator.
pub fn assert_fits_the_operator(objects: &[Value]) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(mut models) = operator_models(folder.path(), objects) {
        succeeds(&mut models);
    }
}

/// What validates objects, which are written into a folder. The models are beside the validator, for the Python that it runs with.
fn operator_models(folder: &Path, objects: &[Value]) -> Option<Command> {
    let validator = tool("kubernetes-validate")?;
    let file = folder.join("objects.json");
    fs::write(&file, serde_json::json!(objects).to_string()).unwrap();
    let mut python = Command::new(Path::new(validator.get_program()).with_file_name("python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operator_models.py")).arg(file);
    Some(python)
}

/// `UPDATE_DOCS=1 cargo test --test it the_operator_gets_the_rules` writes both anew: the object, and the chart's copy.
#[test]
fn the_operator_gets_the_rules_that_prometheus_gets() {
    let rules = read("prometheus/rules.yml");
    let (comment, groups) = rules.split_at(rules.find("groups:\n").unwrap());
    let indented: String =
        groups.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect();
    let origin = "# Made from deploy/prometheus/rules.yml by a test, which says how: change the rules there.\n#\n";
    let object = format!(
        "{origin}{comment}apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: hooklatch\n  \
         labels:\n    app.kubernetes.io/name: hooklatch\nspec:\n{indented}"
    );
    let copies = [
        ("kubernetes/monitoring/prometheusrule.yaml", object),
        ("helm/hooklatch/rules.yml", format!("{origin}{rules}")),
    ];
    for (file, expected) in copies {
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(deployed(file), expected).unwrap();
        } else {
            assert_eq!(read(file), expected, "UPDATE_DOCS=1 writes it anew");
        }
    }
}

#[test]
fn the_pods_fit_their_configuration() {
    let deployment = documents(&read("kubernetes/deployment.yaml")).remove(0);
    assert_pods_fit("kubernetes/gateway.yaml", &deployment["spec"]["template"]["spec"], &[]);

    // Several, of which a node that is drained takes one.
    let scaler = documents(&read("kubernetes/horizontalpodautoscaler.yaml")).remove(0);
    assert!(scaler["spec"]["minReplicas"].as_u64() >= Some(2));
    for key in ["apiVersion", "kind"] {
        assert_eq!(scaler["spec"]["scaleTargetRef"][key], deployment[key]);
    }
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    let budget = documents(&read("kubernetes/poddisruptionbudget.yaml")).remove(0);
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
}

#[test]
fn each_pod_with_a_queue_has_a_volume_for_its_store_with_the_room_that_the_store_may_take() {
    let set = documents(&read("kubernetes-queue/statefulset.yaml")).remove(0);
    let pod = &set["spec"]["template"]["spec"];
    assert_pods_fit("kubernetes-queue/gateway.yaml", pod, &["store"]);
    assert!(set["spec"]["replicas"].as_u64() >= Some(2), "a restart of one leaves the other");

    let store = gateway("kubernetes-queue/gateway.yaml").store.unwrap();
    let mounts = list(&pod["containers"][0]["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == "store").unwrap();
    let Place::Folder(folder) = &store.place else { panic!("the store is no folder") };
    assert_eq!(mount["mountPath"], folder.to_str().unwrap());
    let claim = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["name"], "store");
    let size = claim["spec"]["resources"]["requests"]["storage"].as_str().unwrap().strip_suffix("Gi").unwrap();
    assert!(store.max_size + store.min_free < size.parse::<u64>().unwrap() << 30);
    for event in ["whenDeleted", "whenScaled"] {
        assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"][event], "Retain", "deliveries may wait there");
    }
}

#[test]
fn the_pods_that_share_a_database_reach_the_one_of_the_example() {
    let Some(rendered) = rendered("kubernetes-cluster") else { return };
    let objects = documents(&rendered);
    let one = |kind: &str| {
        let named = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == "hooklatch";
        objects.iter().find(named).unwrap()
    };
    let pod = &one("Deployment")["spec"]["template"]["spec"];
    assert_pods_fit("kubernetes-cluster/gateway.yaml", pod, &[]);

    // A second one takes over, whichever dies; no commit is acknowledged that one disk alone has.
    let database = documents(&read("kubernetes-cluster/postgresql.yaml")).remove(0);
    let (name, spec) = (database["metadata"]["name"].as_str().unwrap(), &database["spec"]);
    assert_eq!(database["metadata"]["namespace"], one("Deployment")["metadata"]["namespace"]);
    assert!(spec["instances"].as_u64() >= Some(3));
    let synchronous = serde_json::json!(
        { "method": "any", "number": 1, "dataDurability": "required", "failoverQuorum": true }
    );
    assert_eq!(spec["postgresql"]["synchronous"], synchronous);
    let store = gateway("kubernetes-cluster/gateway.yaml").store.unwrap();
    let size = spec["storage"]["size"].as_str().unwrap().strip_suffix("Gi").unwrap().parse::<u64>().unwrap() << 30;
    assert!(store.max_size * 2 <= size);

    // The operator calls the Secret after the database, and labels its pods.
    let volume = list(&pod["volumes"]).iter().find(|volume| volume["name"] == "database").unwrap();
    assert_eq!(volume["secret"]["secretName"], format!("{name}-app"));
    assert_eq!(volume["secret"]["items"], serde_json::json!([{ "key": "uri", "path": "url" }]));
    let to = serde_json::json!({
        "to": [{ "podSelector": { "matchLabels": { "cnpg.io/cluster": name } } }],
        "ports": [{ "port": 5432, "protocol": "TCP" }],
    });
    assert!(list(&one("NetworkPolicy")["spec"]["egress"]).contains(&to));
}

/// Compares the pods of a workload with the configuration in `file`. The volumes named in `writable` are mounted for writing.
pub fn assert_pods_fit(file: &str, pod: &Value, writable: &[&str]) {
    let config = gateway(file);
    let secrets = read(file);
    let container = &pod["containers"][0];
    let port = |name: &str| {
        let ports = list(&container["ports"]).iter();
        ports.filter(|port| port["name"] == name).map(|port| port["containerPort"].as_u64().unwrap()).next().unwrap()
    };
    assert_eq!(port("http"), u64::from(config.server.listen[0].port()));
    assert_eq!(port("admin"), u64::from(config.admin.listen.port()));
    assert!(config.admin.listen.ip().is_unspecified(), "probes come from outside of the pod");
    for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/livez")] {
        assert_eq!(container[probe]["httpGet"], serde_json::json!({ "path": path, "port": "admin" }));
    }

    let before = Duration::from_secs(container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap());
    let patience = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().unwrap());
    assert!(before + config.server.shutdown_grace < patience);
    let limit = container["resources"]["limits"]["memory"].as_str().unwrap().strip_suffix("Mi").unwrap();
    assert!(config.server.buffered_bytes * 2 <= limit.parse::<u64>().unwrap() << 20);

    assert!(container["resources"]["requests"]["cpu"].is_string());

    let mounts: Vec<&str> =
        list(&container["volumeMounts"]).iter().map(|mount| mount["mountPath"].as_str().unwrap()).collect();
    let files = secrets.lines().filter_map(|line| line.split_once("file: /")?.1.split([' ', '}']).next());
    for file in files.map(|file| format!("/{file}")) {
        assert!(mounts.iter().any(|mount| file.starts_with(mount)), "{file}");
    }
    for mount in list(&container["volumeMounts"]) {
        assert_eq!(mount["readOnly"] != true, writable.contains(&mount["name"].as_str().unwrap()), "{mount}");
    }
    let file = container["args"].as_array().unwrap().last().unwrap().as_str().unwrap();
    assert!(mounts.iter().any(|mount| file.starts_with(mount)), "{file}");
    for (key, value) in [("readOnlyRootFilesystem", true), ("allowPrivilegeEscalation", false)] {
        assert_eq!(container["securityContext"][key], value);
    }
    assert_eq!(container["securityContext"]["capabilities"]["drop"], serde_json::json!(["ALL"]));
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
}

#[test]
fn selectors_find_the_pods_and_the_admin_service() {
    let one = |path: &str| documents(&read(path)).remove(0);
    let labels = &one("kubernetes/deployment.yaml")["spec"]["template"]["metadata"]["labels"];
    for (path, pointer) in [
        ("kubernetes/deployment.yaml", "/spec/selector/matchLabels"),
        ("kubernetes-queue/statefulset.yaml", "/spec/selector/matchLabels"),
        ("kubernetes-queue/statefulset.yaml", "/spec/template/metadata/labels"),
        ("kubernetes/service.yaml", "/spec/selector"),
        ("kubernetes/networkpolicy.yaml", "/spec/podSelector/matchLabels"),
        ("kubernetes/poddisruptionbudget.yaml", "/spec/selector/matchLabels"),
    ] {
        assert_eq!(one(path).pointer(pointer), Some(labels), "{path}");
    }
    let monitor = one("kubernetes/monitoring/servicemonitor.yaml");
    let services = documents(&read("kubernetes/service.yaml"));
    let matching = services.iter().filter(|service| {
        let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
        wanted.iter().all(|(label, value)| service["metadata"]["labels"].get(label) == Some(value))
    });
    let matching: Vec<&Value> = matching.collect();
    assert_eq!(matching.len(), 1);
    let set = one("kubernetes-queue/statefulset.yaml");
    assert_eq!(set["spec"]["serviceName"], matching[0]["metadata"]["name"]);
    assert_eq!(matching[0]["spec"]["ports"][0]["name"], monitor["spec"]["endpoints"][0]["port"]);
    let job = monitor["spec"]["jobLabel"].as_str().unwrap();
    assert_eq!(matching[0]["metadata"]["labels"][job], "hooklatch", "the rules and the dashboard ask for this job");
}
