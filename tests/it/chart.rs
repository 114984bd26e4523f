//! The Helm chart of `deploy`: what the real Helm makes of it is what kustomize makes of the folders beside it. No cluster is
//! asked.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::deploy::{
    assert_fits_kubernetes, assert_fits_the_operator, assert_pods_fit, deployed, documents, read, rendered,
};
use crate::support::tools::{succeeds, tool};

/// The folders of kustomize whose gateway.yaml the chart gets, and the volumes that their pods write to.
const FOLDERS: [(&str, &[&str]); 3] =
    [("kubernetes", &[]), ("kubernetes-queue", &["store"]), ("kubernetes-cluster", &[])];

/// What `helm template` makes of the chart, as the release `hooklatch`. `None` without Helm.
fn template(arguments: &[&str]) -> Option<Command> {
    template_of("hooklatch", arguments)
}

/// The same as another release.
fn template_of(release: &str, arguments: &[&str]) -> Option<Command> {
    let mut helm = tool("helm")?;
    helm.args(["template", release, "--namespace", "webhooks"]).arg(deployed("helm/hooklatch")).args(arguments);
    Some(helm)
}

/// The argument that gives the chart the gateway.yaml of a folder.
fn gateway(folder: &str) -> String {
    format!("--set-file=gateway={}", deployed(&format!("{folder}/gateway.yaml")).display())
}

/// What Helm says when it fails.
fn failure(mut helm: Command) -> String {
    let output = helm.output().unwrap();
    assert!(!output.status.success(), "{helm:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn helm_finds_nothing_wrong_with_the_chart() {
    let Some(mut helm) = tool("helm") else { return };
    let said = succeeds(helm.args(["lint", "--strict"]).arg(deployed("helm/hooklatch")));
    assert!(!said.contains("[WARNING]") && said.contains("1 chart(s) linted, 0 chart(s) failed"), "{said}");

    // One version for the chart, its image and the gateway, and one example.
    let chart = documents(&read("helm/hooklatch/Chart.yaml")).remove(0);
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"));
    }
    let values = documents(&read("helm/hooklatch/values.yaml")).remove(0);
    assert_eq!(values["gateway"], read("kubernetes/gateway.yaml"));
}

#[test]
fn the_chart_makes_what_kustomize_makes() {
    for (folder, writable) in FOLDERS {
        let Some(mut helm) = template(&[&gateway(folder)]) else { return };
        let made = succeeds(&mut helm);
        assert_fits_kubernetes(&made);
        let made = compared(&documents(&made));
        let pods = made.values().find_map(|object| object["spec"].pointer("/template/spec")).unwrap();
        assert_pods_fit(&format!("{folder}/gateway.yaml"), pods, writable);

        let Some(rendered) = rendered(folder) else { return };
        let expected = compared(&documents(&rendered));
        assert_eq!(made.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{folder}");
        for (name, object) in &made {
            assert_eq!(object, &expected[name], "{folder}: {name}");
        }
    }
}

/// Objects by kind and name, without what may differ: the release's labels, defaults that the chart writes out, the namespace,
/// which Helm does not make, and the name of the handlers' policy.
fn compared(objects: &[Value]) -> BTreeMap<String, Value> {
    let with_name = |object: &Value| {
        let mut object = object.clone();
        object["metadata"].as_object_mut().unwrap().retain(|key, _| key == "name");
        without_defaults(&mut object);
        let name = object["metadata"]["name"].as_str().unwrap().replace("webhook-handlers", "hooklatch-handlers");
        object["metadata"]["name"] = name.as_str().into();
        (format!("{} {name}", object["kind"].as_str().unwrap()), object)
    };
    objects.iter().filter(|object| object["kind"] != "Namespace").map(with_name).collect()
}

fn without_defaults(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for label in ["instance", "version", "managed-by"] {
                map.remove(&format!("app.kubernetes.io/{label}"));
            }
            map.remove("helm.sh/chart");
            map.retain(|key, value| {
                !(key == "imagePullPolicy" && *value == "IfNotPresent" || key == "type" && *value == "ClusterIP")
            });
            map.values_mut().for_each(without_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(without_defaults),
        _ => {}
    }
}

#[test]
fn every_value_of_the_chart_reaches_the_manifests() {
    let values = json!({
        "image": { "repository": "registry.internal/hooks", "tag": "1.2.3", "pullPolicy": "Always" },
        "imagePullSecrets": [{ "name": "registry" }],
        "secrets": { "name": "keys" },
        "env": [{ "name": "DATABASE_URL", "value": "made-up" }],
        "volumes": [{ "name": "certificates", "secret": { "secretName": "hooks-tls" } }],
        "volumeMounts": [{ "mountPath": "/etc/certificates", "name": "certificates", "readOnly": true }],
        "volume": { "size": "33Gi", "storageClassName": "fast" },
        "replicas": 7,
        "podDisruptionBudget": { "maxUnavailable": "34%" },
        "networkPolicy": {
            "monitoringNamespace": "watch",
            "handlerLabels": { "role": "handler" },
            "egress": [{ "ports": [{ "port": 4318, "protocol": "TCP" }] }],
        },
        "service": { "type": "LoadBalancer", "annotations": { "balancer": "internal" } },
        "serviceMonitor": { "enabled": true, "interval": "17s", "labels": { "release": "prometheus" } },
        "prometheusRule": { "enabled": true, "labels": { "selected": "by-prometheus" } },
        "resources": { "limits": { "memory": "777Mi" } },
        "terminationGracePeriodSeconds": 99,
        "podAnnotations": { "note": "annotated" },
        "podLabels": { "team": "payments" },
        "nodeSelector": { "disk": "ssd" },
        "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
        "affinity": { "nodeAffinity": {} },
        "priorityClassName": "urgent",
        "fullnameOverride": "latch",
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("values.yaml");
    std::fs::write(&file, values.to_string()).unwrap();
    let file = format!("--values={}", file.display());
    let Some(mut helm) = template(&[&file, &gateway("kubernetes-queue")]) else { return };
    let objects = documents(&succeeds(&mut helm));
    let (of_the_operator, others): (Vec<Value>, Vec<Value>) =
        objects.iter().cloned().partition(|object| object["apiVersion"] == "monitoring.coreos.com/v1");
    let others: String = others.iter().map(|object| format!("---\n{object}\n")).collect();
    assert_fits_kubernetes(&others);
    assert_fits_the_operator(&of_the_operator);
    let [rule, monitor] = ["PrometheusRule", "ServiceMonitor"]
        .map(|kind| of_the_operator.iter().find(|object| object["kind"] == kind).unwrap());
    assert_eq!(rule["spec"], documents(&read("prometheus/rules.yml"))[0]);
    assert_eq!(rule["metadata"]["labels"]["selected"], "by-prometheus");
    let admin = objects.iter().find(|object| object["metadata"]["name"] == "latch-admin").unwrap();
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&admin["metadata"]["labels"][label], value);
    }
    assert_eq!(monitor["spec"]["jobLabel"], "app.kubernetes.io/name");
    assert_eq!(admin["metadata"]["labels"]["app.kubernetes.io/name"], "hooklatch", "the rules ask for this job");

    let made = json!(objects).to_string();
    for text in [
        "\"image\":\"registry.internal/hooks:1.2.3\"",
        "\"imagePullPolicy\":\"Always\"",
        "\"imagePullSecrets\":[{\"name\":\"registry\"}]",
        "\"secretName\":\"keys\"",
        "\"storage\":\"33Gi\"",
        "\"storageClassName\":\"fast\"",
        "\"replicas\":7",
        "\"maxUnavailable\":\"34%\"",
        "\"kubernetes.io/metadata.name\":\"watch\"",
        "\"type\":\"LoadBalancer\"",
        "\"annotations\":{\"balancer\":\"internal\"}",
        "\"interval\":\"17s\"",
        "\"release\":\"prometheus\"",
        "\"memory\":\"777Mi\"",
        "\"terminationGracePeriodSeconds\":99",
        "\"priorityClassName\":\"urgent\"",
        "\"name\":\"latch\"",
    ] {
        assert!(made.contains(text), "{text}: {made}");
    }
    for key in ["env", "tolerations", "podAnnotations", "podLabels", "nodeSelector", "affinity"] {
        let text = values[key].to_string();
        assert!(made.contains(text.trim_matches(['{', '}', '[', ']'])), "{text}: {made}");
    }
    assert!(made.contains("\"role\":\"handler\""), "{made}");
    for pointer in ["/volumes/0", "/volumeMounts/0", "/networkPolicy/egress/0"] {
        assert!(made.contains(&values.pointer(pointer).unwrap().to_string()), "{pointer}: {made}");
    }
}

#[test]
fn what_the_chart_can_do_without_is_left_out() {
    let off = ["autoscaling", "podDisruptionBudget", "networkPolicy"].map(|part| format!("--set={part}.enabled=false"));
    let off: Vec<&str> = off.iter().map(String::as_str).collect();
    let Some(mut helm) = template(&off) else { return };
    let objects = compared(&documents(&succeeds(&mut helm)));
    let names: Vec<&String> = objects.keys().collect();
    let expected = [
        "ConfigMap hooklatch-config",
        "Deployment hooklatch",
        "Service hooklatch",
        "Service hooklatch-admin",
        "ServiceAccount hooklatch",
    ];
    assert_eq!(names, expected);
    assert_eq!(objects["Deployment hooklatch"]["spec"]["replicas"], 2);

    // A URL from the environment needs no Secret of files, and TLS of the gateway another port.
    let text = "gateway=admin: { listen: '0.0.0.0:9000' }\n\
                server: { listen: ['[::]:8443'\\, '0.0.0.0:8080']\\, tls: { certificate: a\\, private_key: b } }\n\
                store: { postgres: { url: { env: DATABASE_URL } } }\nroutes: [{ name: a }]";
    let mut helm = template(&["--set-string", text, "--set=database.secret="]).unwrap();
    let objects = compared(&documents(&succeeds(&mut helm)));
    let pod = objects["Deployment hooklatch"].pointer("/spec/template/spec").unwrap();
    let ports = json!([{ "name": "http", "containerPort": 8443 }, { "name": "admin", "containerPort": 9000 }]);
    assert_eq!(pod["containers"][0]["ports"], ports);
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 2);
    assert_eq!(objects["Service hooklatch"]["spec"]["ports"][0]["port"], 443);
    assert_eq!(objects["Service hooklatch-admin"]["spec"]["ports"][0]["port"], 9000);
}

#[test]
fn the_chart_refuses_what_cannot_work() {
    for (arguments, words) in [
        ("--set=replica=3", "additional properties 'replica' not allowed"),
        ("--set=autoscaling.maxReplicas=0", "at '/autoscaling/maxReplicas': minimum: got 0, want 1"),
        ("--set-string=gateway=server: {}", "gateway has no routes"),
        ("--set-string=gateway=routes", "gateway is no gateway.yaml"),
        ("--set-string=gateway=routes: [{ name: a }]", "probes and Prometheus cannot reach: make it 0.0.0.0:9797"),
        (
            "--set-string=gateway=admin: { listen: here }\nroutes: [a]",
            "admin.listen in gateway is no address with a port",
        ),
        (
            "--set-string=gateway=store: { path: data }\nroutes: [a]",
            "store.path in gateway is data, below the folder of gateway.yaml, where a pod cannot write: make it absolute",
        ),
        ("--set=autoscaling.minReplicas=20", "autoscaling.minReplicas is 20, more than maxReplicas, which is 10"),
        (
            "--set=podDisruptionBudget.maxUnavailable=abc",
            "at '/podDisruptionBudget/maxUnavailable': 'abc' does not match",
        ),
        ("--set=podDisruptionBudget.maxUnavailable=101%", "'101%' does not match"),
        (
            "--set=fullnameOverride=Foo_Bar",
            "Foo_Bar cannot be the name of a Service: set fullnameOverride to lower-case",
        ),
        ("--set=secrets.name=Foo_Bar", "at '/secrets/name': 'Foo_Bar' does not match"),
        // Helm's way to drop a value.
        ("--set-json=networkPolicy.monitoringNamespace=null", "missing property 'monitoringNamespace'"),
        ("--set-json=volume=null", "missing property 'volume'"),
        (
            "--set-string=podLabels.app\\.kubernetes\\.io/name=other",
            "podLabels has app.kubernetes.io/name, which the chart sets itself",
        ),
        (
            "--set-json=prometheusRule={\"enabled\":true,\"labels\":{\"helm.sh/chart\":\"other\"}}",
            "prometheusRule.labels has helm.sh/chart, which the chart sets itself",
        ),
    ] {
        let Some(helm) = template(&[arguments]) else { return };
        let said = failure(helm);
        assert!(said.contains(words), "{arguments}: {said}");
    }
    let said = failure(template_of("123", &[]).unwrap());
    assert!(said.contains("123-hooklatch cannot be the name of a Service: set fullnameOverride"), "{said}");
}

#[test]
fn labels_that_are_given_select_pods_in_place_of_the_charts() {
    // What the gateway may reach in its namespace, and which pods only it may reach. Without a label it would be all pods.
    let selected = |arguments: &[&str]| {
        let mut helm = template(&[&[gateway("kubernetes-cluster").as_str()], arguments].concat())?;
        let mut objects = compared(&documents(&succeeds(&mut helm)));
        let mut policy = |name: &str| objects.remove(&format!("NetworkPolicy {name}")).unwrap();
        let (gateway, handlers) = (policy("hooklatch"), policy("hooklatch-handlers"));
        let to = |rule: usize| gateway["spec"]["egress"][rule]["to"][0]["podSelector"]["matchLabels"].clone();
        assert_eq!(to(1), handlers["spec"]["podSelector"]["matchLabels"], "{arguments:?}");
        Some([to(1), to(2)])
    };
    let (handler, database) =
        (json!({ "app.kubernetes.io/component": "webhook-handler" }), json!({ "cnpg.io/cluster": "hooklatch-db" }));
    let (of_handlers, of_database) = ("networkPolicy.handlerLabels", "database.podLabels");
    for nothing in ["null", "{}"] {
        let set = [of_handlers, of_database].map(|key| format!("--set-json={key}={nothing}"));
        let Some(selected) = selected(&[&set[0], &set[1]]) else { return };
        assert_eq!(selected, [handler.clone(), database.clone()], "{nothing}");
    }
    let set = [of_handlers, of_database].map(|key| format!("--set-string={key}.role=1"));
    assert_eq!(selected(&[&set[0], &set[1]]).unwrap(), [json!({ "role": "1" }), json!({ "role": "1" })]);
}

#[test]
fn names_that_look_like_numbers_or_booleans_are_text() {
    let names = ["secrets.name=123", "priorityClassName=1", "fullnameOverride=true", "volume.storageClassName=2"];
    let more = ["volume.size=3", "serviceMonitor.interval=4s", "networkPolicy.monitoringNamespace=5"];
    let set: Vec<String> = names.iter().chain(&more).map(|value| format!("--set-string={value}")).collect();
    let arguments: Vec<&str> = set.iter().map(String::as_str).collect();
    let gateway = gateway("kubernetes-queue");
    let Some(mut helm) = template_of("123", &[arguments.as_slice(), &[&gateway]].concat()) else { return };
    let made = succeeds(&mut helm);
    assert_fits_kubernetes(&made);
    let made = json!(documents(&made)).to_string();
    for text in [
        "\"app.kubernetes.io/instance\":\"123\"",
        "\"secretName\":\"123\"",
        "\"priorityClassName\":\"1\"",
        "\"name\":\"true\"",
        "\"storageClassName\":\"2\"",
        "\"storage\":\"3\"",
        "\"kubernetes.io/metadata.name\":\"5\"",
    ] {
        assert!(made.contains(text), "{text}: {made}");
    }

    let database = crate::chart::gateway("kubernetes-cluster");
    let set = ["--set-string=database.secret=6", "--set-string=database.key=7", database.as_str()];
    assert_fits_kubernetes(&succeeds(&mut template(&set).unwrap()));
}
