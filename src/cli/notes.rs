//! What stands at the end of each `--help`: examples, of which a test parses every one, exit statuses and more. The manual pages
//! show the same; [`COMMON`] says what they add to that of a command.
//!
//! A section is a heading with a colon, and indented lines: a term, two spaces or more, its meaning.

/// Terms of [`GENERAL`] that hold for every command. The help of a command leaves them out; its manual page has them.
pub(super) const COMMON: [&str; 2] = ["2", "RUST_LOG"];

/// Terms of [`GENERAL`] that hold for every command with `-c`.
pub(super) const OF_CONFIGURATION: [&str; 2] = ["78", "gateway.yaml"];

/// For `hooklatch --help`.
pub(super) const GENERAL: &str = "\
Examples:
  hooklatch demo
  hooklatch check -c hooks.yaml
  hooklatch serve -c hooks.yaml

Exit status:
  0   done
  1   failed while running: an address cannot be bound, a delivery was refused, no gateway answers
  2   wrong usage, such as an unknown command, option or scheme
  78  the configuration is missing, unreadable or invalid; serve: or the store is of a newer version

Environment:
  RUST_LOG       the log level or filter, unless --log-level overrides it
  SSL_CERT_FILE  a file of root certificates for TLS, instead of the system's
  SSL_CERT_DIR   a folder of root certificates for TLS, instead of the system's

Files:
  gateway.yaml                 the configuration, in the current folder; -c names another file
  /etc/hooklatch/gateway.yaml  the configuration that packages install and their systemd unit uses
  /etc/hooklatch/secrets       secrets and certificates, which root and the service can read

Signals:
  TERM, INT  serve: close the listeners, let deliveries in flight finish; a second one stops at once
  HUP        serve: load the configuration anew";

pub(super) const SERVE: &str = "\
Examples:
  hooklatch serve
  hooklatch serve -c hooks.yaml --log-format json

Exit status:
  0  stopped by a signal, with the deliveries in flight finished
  1  an address cannot be bound, the store cannot be used, or deliveries were cut off

Environment:
  LISTEN_FDS     how many sockets systemd has opened, which are used in place of own ones
  NOTIFY_SOCKET  where systemd is told that the gateway is ready, reloads or stops
  SSL_CERT_FILE  a file of root certificates for TLS, instead of the system's
  SSL_CERT_DIR   a folder of root certificates for TLS, instead of the system's
  (others)       what the configuration names with `env`, such as secrets

Files:
  gateway.yaml  the configuration; it and every file that it names are read again when they change
  hooklatch.db  the store, in the folder that store.path names

Signals:
  TERM, INT  close the listeners, let deliveries in flight finish; a second one stops at once
  HUP        load the configuration anew, without waiting for a change of its files";

pub(super) const INIT: &str = "\
Examples:
  hooklatch init civo
  hooklatch init github stripe -c hooks.yaml

Exit status:
  0  the files are written
  1  a file exists, or cannot be written

Files:
  gateway.yaml  the configuration that is written; -c names another file
  secrets/      the folder for the secrets, beside the configuration; each has a file of its own";

pub(super) const CHECK: &str = "\
Examples:
  hooklatch check -c hooks.yaml

Exit status:
  0  the configuration is valid
  1  it is valid, but the database of its store cannot be used";

pub(super) const DEMO: &str = "\
Examples:
  hooklatch demo
  hooklatch demo --once

Exit status:
  0  stopped by a signal; with --once: all nine deliveries went as they must
  1  with --once: one did not

Signals:
  TERM, INT  stop";

pub(super) const STORE: &str = "\
Examples:
  hooklatch store check -c hooks.yaml
  hooklatch store backup -c hooks.yaml /var/backups/hooklatch

Exit status:
  0  the database is whole, copied or repaired
  1  it is damaged, cannot be read or written, or there is none: store.path names no folder

Files:
  hooklatch.db  the store, in the folder that store.path names";

pub(super) const SIGN: &str = "\
Examples:
  hooklatch sign --scheme civo --secret-file civo-secret --body body.json
  hooklatch sign --scheme square --secret-env SECRET --option public_url=https://hooks.example.com/square --body body.json

Exit status:
  0  the header lines are printed
  1  the secret or the body cannot be read, or the secret does not fit the scheme

Environment:
  NAME  the secret, where --secret-env names the variable";

pub(super) const SEND: &str = "\
Examples:
  hooklatch send civo -c hooks.yaml
  hooklatch send civo -c hooks.yaml --body body.json --url https://hooks.example.com/webhooks/civo

Exit status:
  0  the answer was a 2xx
  1  the answer was not a 2xx, or no gateway answered
  2  wrong usage, or the configuration has no such route

Environment:
  SSL_CERT_FILE  a file of root certificates for TLS, instead of the system's
  SSL_CERT_DIR   a folder of root certificates for TLS, instead of the system's";

pub(super) const EXPLAIN: &str = "\
Examples:
  hooklatch explain civo -c hooks.yaml --request captured.http
  hooklatch explain civo --request network.har --entry 3
  hooklatch explain civo --request headers.txt --body payload.json
  hooklatch explain stripe --request captured.http --at 2026-01-31T12:00:00Z
  hooklatch explain civo --last
  hooklatch explain --id 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b

Exit status:
  0  the gateway would accept the request
  1  it would refuse the request, there is no such recorded delivery, or no gateway answers
  2  wrong usage, the request cannot be read, or the configuration has no such route";

pub(super) const DELIVERIES: &str = "\
Examples:
  hooklatch deliveries
  hooklatch deliveries -c hooks.yaml 'state:dead since:1h'
  hooklatch deliveries --url http://127.0.0.1:9797 'route:stripe event:invoice.* -status:2xx' --limit 500 --json

Exit status:
  0  the deliveries are printed, if there are any
  1  no gateway answers";

pub(super) const SHOW: &str = "\
Examples:
  hooklatch show 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch show 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b --http > captured.http

Exit status:
  0  the delivery is printed
  1  no delivery has the id, or no gateway answers";

pub(super) const TAIL: &str = "\
Examples:
  hooklatch tail
  hooklatch tail 'is:refused route:stripe' --json

Exit status:
  0  ended by Ctrl-C (INT) or TERM
  1  no gateway answers

Signals:
  INT, TERM  end";

pub(super) const LISTEN: &str = "\
Examples:
  hooklatch listen civo --to http://localhost:3000/webhooks/civo
  hooklatch listen civo --to http://localhost:3000/ --since 10m --url http://127.0.0.1:9797

Exit status:
  0  ended by Ctrl-C (INT) or TERM
  1  no gateway answers, it has no such route, or the route keeps no bodies

Signals:
  INT, TERM  end, and say how many deliveries were not sent";

pub(super) const REPLAY: &str = "\
Examples:
  hooklatch replay 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch replay --query 'state:dead route:stripe since:1d' --dry-run
  hooklatch replay --query 'state:dead route:stripe since:1d' --per-second 10 --yes

Exit status:
  0  the deliveries are sent again
  1  one was not, or no gateway answers; or nobody was there to confirm

Signals:
  INT  with --query: stop, and say how many were sent";

pub(super) const DISCARD: &str = "\
Examples:
  hooklatch discard 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b
  hooklatch discard --query 'state:dead event:test.*' --yes

Exit status:
  0  the deliveries are discarded
  1  one was not, or no gateway answers; or nobody was there to confirm";

pub(super) const ERASE: &str = "\
Examples:
  hooklatch erase 0199c1d2-7a00-7c3e-9f1a-2b6f0e4d5c6b

Exit status:
  0  the deliveries are erased
  1  one was not, or no gateway answers; or nobody was there to confirm";

pub(super) const PAUSE: &str = "\
Examples:
  hooklatch pause stripe -c hooks.yaml

Exit status:
  0  the route is paused
  1  no gateway answers, or it has no such route";

pub(super) const RESUME: &str = "\
Examples:
  hooklatch resume stripe -c hooks.yaml

Exit status:
  0  the route is resumed
  1  no gateway answers, or it has no such route";

pub(super) const UI: &str = "\
Examples:
  hooklatch ui
  hooklatch ui -c hooks.yaml

Exit status:
  0  the address is printed
  1  the gateway shows no page

Environment:
  DISPLAY, WAYLAND_DISPLAY  one of them says that a browser could be opened";

pub(super) const HEALTH: &str = "\
Examples:
  hooklatch health -c hooks.yaml
  hooklatch health --url http://127.0.0.1:9797 --live

Exit status:
  0  the gateway takes deliveries; with --live: it runs
  1  it does not, or has not answered within three seconds";

pub(super) const SCHEMES: &str = "\
Examples:
  hooklatch schemes
  hooklatch schemes icr
  hooklatch schemes carbon

Exit status:
  0  the schemes are printed
  1  standard output cannot be written";

pub(super) const SCHEMA: &str = "\
Examples:
  hooklatch schema > gateway.schema.json

Exit status:
  0  the schema is printed
  1  standard output cannot be written";

pub(super) const COMPLETIONS: &str = "\
Examples:
  hooklatch completions bash > /etc/bash_completion.d/hooklatch
  hooklatch completions fish > ~/.config/fish/completions/hooklatch.fish
  hooklatch completions zsh > ~/.zfunc/_hooklatch

Exit status:
  0  the script is printed
  1  standard output cannot be written

Environment:
  HOOKLATCH_COMPLETE  set by the script when it asks hooklatch for completions";

pub(super) const MAN: &str = "\
Examples:
  hooklatch man ./man

Exit status:
  0  the pages are written
  1  a file cannot be written";

pub(super) const CONFORMANCE: &str = "\
Examples:
  hooklatch conformance
  hooklatch conformance icr civo
  hooklatch conformance --vectors vectors.json

Exit status:
  0  every delivery had the verdict that it must have
  1  one had not";
