// A gateway with traffic, and a browser with an empty profile that reaches nothing else.
//
// Everything listens on loopback port 0. Nothing sleeps: each step waits for what it can see.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import readline from "node:readline";
import { chromium } from "playwright-core";

const PROGRAM = resolve(
  process.env.PORTCULLIS ?? new URL("../../target/debug/portcullis", import.meta.url).pathname,
);
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

// The key of the API key source is `demo-reader-key`.
const CONFIG = `version = 1
[server]
listen = ["127.0.0.1:0"]
trusted_proxies = ["127.0.0.1"]
state_dir = "state"
[admin]
listen = "127.0.0.1:0"
token_file = "admin.token"
[log]
sink = { file = "decisions.jsonl" }
[timeouts]
drain_delay = "0s"
[upstream.demo]
servers = ["builtin:echo"]
[upstream.gone]
servers = ["http://127.0.0.1:1"]
[[route]]
id = "orders"
path = "/orders/{*rest}"
upstream = "demo"
[[route]]
id = "shop"
path = "/search"
upstream = "demo"
[[route]]
id = "down"
path = "/down"
upstream = "gone"
[[route]]
id = "all"
path = "/{*rest}"
upstream = "demo"
[network]
office = ["192.0.2.0/24"]
[[ip.rule]]
id = "office-only"
path = "/office/{*rest}"
allow = ["office"]
reason = "The office pages are for the office."
remediation = "Connect through the office VPN."
[waf]
threshold = 5
[[waf.rule]]
id = "no-select"
score = 5
targets = ["query"]
transforms = ["lowercase"]
match = { contains = "select" }
[[waf.rule]]
id = "no-drop"
score = 5
targets = ["query"]
match = { contains = "drop" }
[[waf.rule]]
id = "shy"
action = "deny"
targets = ["query"]
match = { contains = "forbidden" }
mode = "shadow"
[[authn.api_key]]
id = "reader"
header = "x-api-key"
hash = "sha256:cc551f29bff81915d8d2765567f3c5f73f4b9ebc70f37757eefe31734bde1421"
roles = ["orders-reader"]
[rbac.role.orders-reader]
[rbac.role.orders-admin]
inherits = ["orders-reader"]
[[rbac.grant]]
id = "public"
roles = ["anyone"]
paths = ["/", "/search", "/office/{*rest}", "/down"]
[[rbac.grant]]
id = "orders-read"
roles = ["orders-reader"]
methods = ["GET"]
path = "/orders/{*rest}"
[[rbac.grant]]
id = "orders-write"
roles = ["orders-admin"]
methods = ["DELETE"]
path = "/orders/{*rest}"
`;

const KEY = { "x-api-key": "demo-reader-key" };

export const startGateway = async () => startWith(CONFIG);

// One whose page others can reach, so that reading needs the token too.
export const startOpenGateway = async () =>
  startWith(CONFIG.replace('[admin]\nlisten = "127.0.0.1:0"', '[admin]\nlisten = "0.0.0.0:0"'));

const startWith = async (text) => {
  const folder = await mkdtemp(join(tmpdir(), "portcullis-"));
  const config = join(folder, "portcullis.toml");
  await writeFile(config, text);
  const env = { ...process.env, NO_COLOR: "1", PORTCULLIS_LOG: "info" };
  const child = spawn(PROGRAM, ["run", "--config", config], { cwd: folder, env, stdio: ["ignore", "ignore", "pipe"] });
  const said = [];
  const found = {};
  await new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`exit ${code}:\n${said.join("\n")}`)));
    readline.createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const address = / listening .*address=(\S+)/.exec(line)?.[1];
      if (address) found[line.includes("admin listening") ? "admin" : "address"] = address;
      if (found.admin && found.address) resolve();
    });
  });
  child.removeAllListeners("exit");
  const token = (await readFile(join(folder, "admin.token"), "utf8")).trim();
  const page = `http://${found.admin.replace("0.0.0.0", "127.0.0.1")}`;
  const read = async (path) => (await fetch(page + path, { headers: { authorization: `Bearer ${token}` } })).json();
  const status = () => read("/api/status");
  const gateway = {
    ...found,
    page,
    token,
    ask: (method, path, headers = {}) => ask(found.address, method, path, headers),
    history: async () => (await read("/api/history")).history,
    // What the page reads is there once the answer of the API has it.
    settled: async (query, count) => {
      for (;;) {
        const answer = await read(`/api/decisions?${query}`);
        if (answer.matched >= count) return answer.decisions;
      }
    },
    // Replaces the configuration as an editor does, and waits until the gateway has looked at it.
    reconfigure: async (change) => {
      const before = (await status()).reload.at;
      await writeFile(`${config}.new`, change(text));
      await rename(`${config}.new`, config);
      while ((await status()).reload.at === before);
    },
    stop: async () => {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await ended;
      await rm(folder, { recursive: true });
    },
  };
  await traffic(gateway);
  return gateway;
};

const ask = (address, method, path, headers) =>
  new Promise((resolve, reject) => {
    const [host, port] = address.split(":");
    const request = http.request({ host, port, method, path, headers: { host: "app.test", ...headers }, agent: false });
    request.once("response", (response) => {
      response.resume();
      response.once("end", () => resolve({ status: response.statusCode, headers: response.headers }));
    });
    request.once("error", reject);
    request.end();
  });

// A bit of everything that a gateway sees.
const traffic = async (gateway) => {
  const from = (address) => ({ "x-forwarded-for": address });
  const asked = [];
  for (const [index, path] of ["/", "/", "/search?q=shoes", "/search?q=forbidden", "/orders/1", "/down"].entries()) {
    asked.push(gateway.ask("GET", path, { ...KEY, ...from(`203.0.113.${index + 1}`) }));
  }
  for (const query of ["q=select+a+shoe", "q=selected", "q=select&p=drop"]) {
    asked.push(gateway.ask("GET", `/search?${query}`, from("203.0.113.20")));
  }
  asked.push(gateway.ask("GET", "/office/plan", from("203.0.113.30")));
  asked.push(gateway.ask("GET", "/office/plan", from("192.0.2.30")));
  asked.push(gateway.ask("GET", "/orders/2", from("203.0.113.31")));
  asked.push(gateway.ask("GET", "/<script>alert(1)</script>", from("203.0.113.32")));
  asked.push(gateway.ask("GET", "/a%2fb"));
  await Promise.all(asked);
  gateway.refused = await gateway.ask("DELETE", "/orders/42", { ...KEY, ...from("203.0.113.9") });
  await gateway.settled("", asked.length + 1);
};

export { KEY };

// A browser with an empty profile, for which no name resolves: whatever is not the gateway fails.
export const startBrowser = async (options = {}) => {
  const profile = await mkdtemp(join(tmpdir(), "chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    chromiumSandbox: false,
    viewport: { width: 1360, height: 900 },
    args: [
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ],
    ...options,
  });
  return {
    context,
    stop: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true });
    },
  };
};

// A page that remembers everything that went wrong on it.
export const openPage = async (context, origin) => {
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`thrown: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(`${origin}/`)) problems.push(`asked for ${request.url()}`);
  });
  return { page, problems };
};
