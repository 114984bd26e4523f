//! The examples at the end of each `--help`, which the manual pages show as well. A test parses every one.

/// For `hooklatch --help`.
pub(super) const GENERAL: &str = "\
Examples:
  hooklatch demo
  hooklatch check -c hooks.yaml
  hooklatch serve -c hooks.yaml";

pub(super) const SERVE: &str = "\
Examples:
  hooklatch serve
  hooklatch serve -c hooks.yaml --log-format json";

pub(super) const INIT: &str = "\
Examples:
  hooklatch init civo
  hooklatch init github stripe -c hooks.yaml";

pub(super) const CHECK: &str = "\
Examples:
  hooklatch check -c hooks.yaml";

pub(super) const DEMO: &str = "\
Examples:
  hooklatch demo
  hooklatch demo --once";

pub(super) const STORE: &str = "\
Examples:
  hooklatch store check -c hooks.yaml
  hooklatch store backup -c hooks.yaml /var/backups/hooklatch";

pub(super) const SIGN: &str = "\
Examples:
  hooklatch sign --scheme civo --secret-file civo-secret --body body.json
  hooklatch sign --scheme square --secret-env SECRET --option public_url=https://hooks.example.com/square --body body.json";

pub(super) const SEND: &str = "\
Examples:
  hooklatch send civo -c hooks.yaml
  hooklatch send civo -c hooks.yaml --body body.json --url https://hooks.example.com/webhooks/civo";

pub(super) const EXPLAIN: &str = "\
Examples:
  hooklatch explain civo -c hooks.yaml --request captured.http
  hooklatch explain civo --request network.har --entry 3
  hooklatch explain civo --request headers.txt --body payload.json
  hooklatch explain stripe --request captured.http --at 2026-01-31T12:00:00Z
  hooklatch explain civo --last
  hooklatch explain --id 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b";

pub(super) const DELIVERIES: &str = "\
Examples:
  hooklatch deliveries
  hooklatch deliveries -c hooks.yaml 'state:dead since:1h'
  hooklatch deliveries --url http://127.0.0.1:9797 'route:stripe event:invoice.* -status:2xx' --limit 500 --json";

pub(super) const SHOW: &str = "\
Examples:
  hooklatch show 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch show 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b --http > captured.http";

pub(super) const TAIL: &str = "\
Examples:
  hooklatch tail
  hooklatch tail 'is:refused route:stripe' --json";

pub(super) const LISTEN: &str = "\
Examples:
  hooklatch listen civo --to http://localhost:3000/webhooks/civo
  hooklatch listen civo --to http://localhost:3000/ --since 10m --url http://127.0.0.1:9797";

pub(super) const REPLAY: &str = "\
Examples:
  hooklatch replay 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch replay --query 'state:dead route:stripe since:1d' --dry-run
  hooklatch replay --query 'state:dead route:stripe since:1d' --per-second 10 --yes";

pub(super) const DISCARD: &str = "\
Examples:
  hooklatch discard 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch discard --query 'state:dead event:test.*' --yes";

pub(super) const ERASE: &str = "\
Examples:
  hooklatch erase 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b";

pub(super) const PAUSE: &str = "\
Examples:
  hooklatch pause stripe -c hooks.yaml";

pub(super) const RESUME: &str = "\
Examples:
  hooklatch resume stripe -c hooks.yaml";

pub(super) const UI: &str = "\
Examples:
  hooklatch ui
  hooklatch ui -c hooks.yaml";

pub(super) const HEALTH: &str = "\
Examples:
  hooklatch health -c hooks.yaml
  hooklatch health --url http://127.0.0.1:9797 --live";

pub(super) const SCHEMES: &str = "\
Examples:
  hooklatch schemes
  hooklatch schemes icr
  hooklatch schemes carbon";

pub(super) const SCHEMA: &str = "\
Examples:
  hooklatch schema > gateway.schema.json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  hooklatch completions bash > /etc/bash_completion.d/hooklatch";

pub(super) const MAN: &str = "\
Examples:
  hooklatch man ./man";

pub(super) const CONFORMANCE: &str = "\
Examples:
  hooklatch conformance
  hooklatch conformance icr civo
  hooklatch conformance --vectors vectors.json";
