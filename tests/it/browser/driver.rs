//! A small client of WebDriver (<https://www.w3.org/TR/webdriver2/>), as Chromium's driver speaks it.
//!
//! Nothing here sleeps: [`Tab::until`] asks again and again, up to the deadline of the tests. The browser ends with its
//! [`Browser`], also when the test panics.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::api::Call;
use crate::support::http::{ANSWER, Connection};
use crate::support::process::{Process, poll};
use crate::support::tools;

/// The key of an element's id in WebDriver's JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A Chromium with one window, and the driver that it is driven by.
pub struct Browser {
    connection: RefCell<Connection>,
    address: SocketAddr,
    session: String,
    process: u64,
    _driver: Process,
    _profile: TempDir,
}

impl Browser {
    /// A browser with a profile of its own, and further arguments; `None` if the test is to be passed over.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let chromium = tools::tool("chromium")?;
        let mut command = tools::tool("chromedriver")?;
        let (driver, port) = start_driver(command.arg("--port=0"));
        let profile = tempfile::tempdir().unwrap();
        let mut all = vec![
            "--headless=new".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
            "--window-size=1280,900".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
        ];
        // Chromium's sandbox does not run as root, as tests in a container do.
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            all.push("--no-sandbox".to_owned());
        }
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "unhandledPromptBehavior": "ignore",
            "goog:chromeOptions": { "binary": chromium.get_program().to_str().unwrap(), "args": all },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut connection = Connection::open(address);
        let started = exchange(&mut connection, &Call::post("/session", &wanted)).unwrap();
        let session = started["sessionId"].as_str().unwrap().to_owned();
        let process = started["capabilities"]["goog:processID"].as_u64().unwrap();
        Some(Self { connection: connection.into(), address, session, process, _driver: driver, _profile: profile })
    }

    /// Tells the driver to end Chromium, and waits until it has.
    fn end(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let call = Call::of("DELETE", &format!("/session/{}", self.session)).line("Connection: close");
        stream.write_all(&call.bytes())?;
        stream.read_exact(&mut [0])
    }

    fn call(&self, method: &'static str, path: &str, body: Value) -> Result<Value, String> {
        let target = format!("/session/{}{path}", self.session);
        let call = match method {
            "POST" => Call::post(&target, &body),
            _ => Call::of(method, &target),
        };
        exchange(&mut self.connection.borrow_mut(), &call)
    }

    #[track_caller]
    fn must(&self, method: &'static str, path: &str, body: Value) -> Value {
        self.call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Opens an address and waits until the page is loaded.
    #[track_caller]
    pub fn open(&self, address: &str) {
        self.must("POST", "/url", json!({ "url": address }));
    }

    /// The address of the page.
    pub fn address(&self) -> String {
        self.must("GET", "/url", Value::Null).as_str().unwrap().to_owned()
    }

    /// Loads the page again.
    #[track_caller]
    pub fn reload(&self) {
        self.must("POST", "/refresh", json!({}));
    }

    /// The value of an expression of JavaScript, which may wait for a promise.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        self.try_value(expression).unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    fn try_value(&self, expression: &str) -> Result<Value, String> {
        self.call("POST", "/execute/sync", json!({ "script": format!("return ({expression});"), "args": [] }))
    }

    /// Runs statements of JavaScript.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.must("POST", "/execute/sync", json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression of JavaScript is true. What cannot be computed yet, as while a page loads, is not.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        poll(expression, || self.try_value(expression) == Ok(Value::Bool(true)));
    }

    /// Waits until a page is loaded whose path and query, or the end of them, are these.
    #[track_caller]
    pub fn arrives_at(&self, path: &str) {
        let here = "(location.pathname + location.search)";
        self.until(&format!("{here}.endsWith({path:?}) && document.readyState === 'complete'"));
    }

    /// The text of the first element that matches, as a person sees it.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        let text = self.value(&format!("document.querySelector({selector:?})?.innerText ?? null"));
        text.as_str().unwrap_or_else(|| panic!("no {selector} in {}", self.page())).to_owned()
    }

    /// The visible text of the page's main part.
    pub fn page(&self) -> String {
        let text = self.value("(document.querySelector('main') ?? document.body).innerText");
        text.as_str().unwrap().to_owned()
    }

    /// Waits until the page's main part shows these words.
    #[track_caller]
    pub fn shows(&self, words: &str) {
        self.until(&format!("document.querySelector('main').innerText.includes({words:?})"));
    }

    /// How many elements match.
    #[track_caller]
    pub fn count(&self, selector: &str) -> u64 {
        self.value(&format!("document.querySelectorAll({selector:?}).length")).as_u64().unwrap()
    }

    /// The id of the first element that matches an XPath and can be seen.
    #[track_caller]
    fn find(&self, using: &str, what: &str) -> String {
        let found = self.must("POST", "/elements", json!({ "using": using, "value": what }));
        let ids = found.as_array().unwrap().iter().map(|element| element[ELEMENT].as_str().unwrap());
        let shown = |id: &&str| self.must("GET", &format!("/element/{id}/displayed"), Value::Null) == true;
        ids.clone()
            .find(shown)
            .unwrap_or_else(|| panic!("none of {} for {what} can be seen on {}", ids.count(), self.address()))
            .to_owned()
    }

    /// Clicks on the first element that matches and can be seen.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let id = self.find("css selector", selector);
        self.must("POST", &format!("/element/{id}/click"), json!({}));
    }

    /// Clicks on the button or link of this name that can be seen.
    #[track_caller]
    pub fn click_on(&self, name: &str) {
        let id = self.find("xpath", &named(name));
        self.must("POST", &format!("/element/{id}/click"), json!({}));
    }

    /// Double-clicks on the first element that matches and can be seen.
    #[track_caller]
    pub fn double_click(&self, selector: &str) {
        let id = self.find("css selector", selector);
        let (down, up) = (json!({ "type": "pointerDown", "button": 0 }), json!({ "type": "pointerUp", "button": 0 }));
        let to = json!({ "type": "pointerMove", "origin": { ELEMENT: id }, "x": 0, "y": 0 });
        let actions = json!([{ "type": "pointer", "id": "mouse", "actions": [to, down, up, down, up] }]);
        self.must("POST", "/actions", json!({ "actions": actions }));
    }

    /// Whether a button or link of this name can be seen.
    pub fn has(&self, name: &str) -> bool {
        let found = self.must("POST", "/elements", json!({ "using": "xpath", "value": named(name) }));
        let mut ids = found.as_array().unwrap().iter().map(|element| element[ELEMENT].as_str().unwrap());
        ids.any(|id| self.must("GET", &format!("/element/{id}/displayed"), Value::Null) == true)
    }

    /// Presses keys one after the other, as a person does it who has no mouse.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes =
            keys.chars().flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })));
        let actions: Vec<Value> = strokes.collect();
        self.must("POST", "/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// A command of the Chrome DevTools Protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.must("POST", "/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// From the next page on, pages run no script.
    pub fn turn_script_off(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": true }));
    }

    /// Makes the window this wide, in pixels of CSS, with this many pixels of the screen for each.
    pub fn resize(&self, width: u32, height: u32, scale: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// As if the system asked for this, such as `("prefers-color-scheme", "dark")`; nothing else is asked for any more.
    pub fn prefer(&self, features: &[(&str, &str)]) {
        let features: Vec<Value> =
            features.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        self.devtools("Emulation.setEmulatedMedia", json!({ "media": "", "features": features }));
    }

    /// What the console has said since it was last asked: errors and warnings, and what the page's policy has blocked.
    pub fn console(&self) -> Vec<String> {
        let log = self.must("POST", "/se/log", json!({ "type": "browser" }));
        let complaints =
            log.as_array().unwrap().iter().filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        complaints.map(|entry| entry["message"].as_str().unwrap().to_owned()).collect()
    }

    /// The text of a dialog of the browser's own, such as `alert`; `None` if there is none.
    pub fn alert(&self) -> Option<String> {
        self.call("GET", "/alert/text", Value::Null).ok().map(|text| text.to_string())
    }

    /// Opens another tab and goes there: its name.
    pub fn new_tab(&self) -> String {
        let tab = self.must("POST", "/window/new", json!({ "type": "tab" }));
        let handle = tab["handle"].as_str().unwrap().to_owned();
        self.go_to_tab(&handle);
        handle
    }

    /// The name of the tab that is shown.
    pub fn tab(&self) -> String {
        self.must("GET", "/window", Value::Null).as_str().unwrap().to_owned()
    }

    /// Shows a tab.
    pub fn go_to_tab(&self, handle: &str) {
        self.must("POST", "/window", json!({ "handle": handle }));
    }

    /// The cookies of the page, as the browser keeps them.
    pub fn cookies(&self) -> Vec<Value> {
        self.must("GET", "/cookie", Value::Null).as_array().unwrap().clone()
    }

    /// A picture of each element, as PNG.
    #[track_caller]
    pub fn pictures(&self, selector: &str) -> Vec<Vec<u8>> {
        let found = self.must("POST", "/elements", json!({ "using": "css selector", "value": selector }));
        let ids = found.as_array().unwrap().iter().map(|element| element[ELEMENT].as_str().unwrap().to_owned());
        let picture = |id: String| self.must("GET", &format!("/element/{id}/screenshot"), Value::Null);
        ids.map(|id| STANDARD.decode(picture(id).as_str().unwrap()).unwrap()).collect()
    }

    /// A picture of the window, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.must("GET", "/screenshot", Value::Null);
        STANDARD.decode(picture.as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // On a connection of its own: the other one may wait for an answer. An error means that the driver has ended.
        if self.end().is_err() {
            let _ = Command::new("kill").args(["-s", "KILL", &self.process.to_string()]).status();
        }
    }
}

/// A driver, and the port that it listens on. It takes a free port of IPv6, and ends if the same one of IPv4 is not free: then
/// another one is started.
fn start_driver(command: &mut Command) -> (Process, u16) {
    loop {
        let mut driver = Process::start("chromedriver", command, "scripts/test installs it");
        let port = driver.wait_for("its port", |_, line| match line.rsplit_once("started successfully on port ") {
            Some((_, port)) => Some(Some(port.trim_end_matches('.').parse().unwrap())),
            None => line.contains("port not available").then_some(None),
        });
        if let Some(port) = port {
            return (driver, port);
        }
    }
}

/// An XPath of the buttons and links of a name.
fn named(name: &str) -> String {
    format!("//*[self::button or self::a or self::summary][normalize-space()=\"{name}\"]")
}

/// Sends a call: its value, or what went wrong.
fn exchange(connection: &mut Connection, call: &Call) -> Result<Value, String> {
    connection.write(&call.bytes());
    let response = connection.receive();
    let value = response.json()["value"].take();
    match response.status {
        200 => Ok(value),
        status => Err(format!("{status} {}: {}", value["error"], value["message"])),
    }
}
