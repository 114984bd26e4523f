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
    let mut helm = tool("helm")?;
    helm.args(["template", "hooklatch", "--namespace", "webhooks"]).arg(deployed("helm/hooklatch")).args(arguments);
    Some(helm)
}

/// The argument that gives the chart the gateway.yaml of a folder.
fn gateway(folder: &str) -> String {
    format!("--set-file=gateway={}", deployed(&format!("{folder}/gateway.yaml")).display())
}

/// What Helm says when it fails.
fn failure(arguments: &[&str]) -> Option<String> {
    let output = template(arguments)?.output().unwrap();
    assert!(!output.status.success(), "{arguments:?}: {output:?}");
    Some(String::from_utf8(output.stderr).unwrap())
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
    assert!(made.contains("\"role\":\"handler\""), "beside the chart's own label: {made}");
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
    ] {
        let Some(said) = failure(&[arguments]) else { return };
        assert!(said.contains(words), "{arguments}: {said}");
    }
}
